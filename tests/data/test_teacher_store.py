"""The teacher store is computed once, grows, is shared, goes on where it stopped, and makes damaged files again."""

import json
import multiprocessing
import shutil
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor

from promptstill.data import teacher_store
from promptstill.data.images import open_images, subset
from promptstill.data.teacher_store import LiveTeacher, TeacherStore, open_store, store_facts
from promptstill.data.views import Views
from promptstill.engine import Stopper
from promptstill.errors import DataError, Interrupted, UsageError
from promptstill.models.clip import Clip, load_clip
from small_runs import StopAfter

COUNT = 25  # views an image: 10 images are 250 pairs in 63 batches of 4, and every 50 batches are a safe point


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_store, "BATCH", 4)


def views(folder: Path, *, seed: int = 5, crop: float = 0.5, flip: bool = True, size: int = 32) -> Views:
    return Views(open_images(folder), seed, crop, flip, size, "bicubic")


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def only(root: Path, pattern: str) -> Path:
    (path,) = root.glob(f"*/{pattern}")
    return path


class Counting:
    """The teacher, counting how often it is asked."""

    def __init__(self, clip: Clip) -> None:
        self.clip, self.asked = clip, 0

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += 1
        return self.clip.embed_images(images)


def opened(root: Path, folder: Path, count: int, teacher: Counting, stopper: Stopper | None = None) -> TeacherStore:
    return open_store(root, views(folder), count, teacher, teacher.clip.hash, stopper or Stopper())


def test_it_holds_the_teachers_features_of_every_view(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    shown = views(pictures)
    store = opened(tmp_path, pictures, 3, Counting(clip))
    live = LiveTeacher(shown, clip.embed_images)
    assert np.load(only(tmp_path, "*.npy")).dtype == np.float16
    for number in range(3):
        wanted = clip.embed_images(shown.batch(range(10), number)).detach()
        torch.testing.assert_close(store.batch(torch.arange(10), number), wanted, atol=1e-3, rtol=0)
        torch.testing.assert_close(live.batch(torch.arange(10), number), wanted)
    chosen = store.batch(torch.tensor([9, 0]), 1)
    assert torch.equal(chosen, store.batch(torch.arange(10), 1)[[9, 0]])
    torch.testing.assert_close(chosen.norm(dim=-1), torch.ones(2))


def test_it_is_built_once_and_grows(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    teacher = Counting(clip)
    asked = []
    for count in (2, 2, 1, 4, 3):
        store = opened(tmp_path / "grown", pictures, count, teacher)
        asked.append(teacher.asked)
    assert asked == [5, 5, 5, 10, 10], "what is there is not made again"
    whole = opened(tmp_path / "whole", pictures, 4, teacher)
    for number in range(4):
        torch.testing.assert_close(store.rows(torch.arange(10), number), whole.rows(torch.arange(10), number))
    with pytest.raises(IndexError):
        store.rows(torch.arange(10), 4)


def test_a_build_that_was_stopped_ends_with_the_same_bytes_without_doing_twice(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    opened(tmp_path / "whole", pictures, COUNT, Counting(clip))
    teacher = Counting(clip)
    with pytest.raises(Interrupted):
        opened(tmp_path / "parts", pictures, COUNT, teacher, StopAfter(1))
    assert teacher.asked == 50
    opened(tmp_path / "parts", pictures, COUNT, teacher)
    assert teacher.asked == 63
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "longer", "other"])
@pytest.mark.parametrize("when", ["finished", "stopped"])
def test_a_damaged_file_is_made_again(clip: Clip, pictures: Path, tmp_path: Path, damage: str, when: str) -> None:
    root, whole, teacher = tmp_path / "s", tmp_path / "whole", Counting(clip)
    opened(whole, pictures, COUNT, teacher)
    if when == "finished":
        shutil.copytree(whole, root)
    else:
        with pytest.raises(Interrupted):
            opened(root, pictures, COUNT, teacher, StopAfter(1))
    path = only(root, "*.npy")
    data = path.read_bytes()
    path.unlink()
    if damage == "other":
        np.save(path, np.zeros((9, COUNT, clip.dim), np.float16))
    elif damage == "longer":
        np.save(path, np.zeros((10, COUNT, clip.dim + 1), np.float16))
    elif damage != "missing":
        path.write_bytes(data[: len(data) // 2 if damage == "cut" else 0])
    opened(root, pictures, COUNT, teacher)
    assert content(root) == content(whole)


def test_what_was_begun_for_another_number_of_views_is_cleared_away(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    teacher = Counting(clip)
    with pytest.raises(Interrupted):
        opened(tmp_path / "s", pictures, COUNT, teacher, StopAfter(1))
    opened(tmp_path / "s", pictures, 3, teacher)
    opened(tmp_path / "whole", pictures, 3, teacher)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_a_store_of_another_teacher_is_another_store(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    other = load_clip(f"dir:{clip_dir}")
    with torch.no_grad():
        other.model.get_parameter("visual.proj")[0, 0] += 1
    for teacher in (clip, other):
        store = opened(tmp_path, pictures, 1, Counting(teacher))
        wanted = teacher.embed_images(views(pictures).batch(range(10), 0)).detach()
        torch.testing.assert_close(store.batch(torch.arange(10), 0), wanted, atol=1e-3, rtol=0)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_store_in_the_place_of_another_is_refused(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    opened(tmp_path, pictures, 1, Counting(clip))
    about = only(tmp_path, "about.json")
    about.write_text(json.dumps(json.loads(about.read_text()) | {"encoder": "0" * 64}))
    with pytest.raises(DataError, match=r"was made of something else \(encoder differs\); delete it"):
        opened(tmp_path, pictures, 1, Counting(clip))


def test_a_place_that_cannot_be_written_is_told(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot keep a teacher store in .*; choose another place"):
        opened(tmp_path / "file", pictures, 1, Counting(clip))


def test_a_builder_waits_for_another_and_can_be_stopped(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    opened(tmp_path, pictures, 1, Counting(clip))
    with FileLock(only(tmp_path, "about.json").parent / ".lock"):
        opened(tmp_path, pictures, 1, Counting(clip))  # what is finished needs no lock
        with pytest.raises(Interrupted):
            opened(tmp_path, pictures, 2, Counting(clip), StopAfter(1))


def build(root: Path, clip_dir: Path, pictures: Path) -> None:
    """A builder in a process of its own; it writes how often it asked the teacher."""
    torch.set_num_threads(1)
    teacher_store.BATCH = 4
    teacher = Counting(load_clip(f"dir:{clip_dir}"))
    opened(root, pictures, COUNT, teacher)
    with (root / "asked.txt").open("a") as file:
        file.write(f"{teacher.asked}\n")


@pytest.fixture
def context() -> BaseContext:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["promptstill.pipelines.from_names", "diffusers.models.autoencoders.vq_model"])
    return found


@pytest.mark.timeout(200)
def test_several_builders_at_once_build_one_store(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path, context: BaseContext
) -> None:
    root = tmp_path / "shared"
    builders = [context.Process(target=build, args=(root, clip_dir, pictures)) for _ in range(3)]  # pyright: ignore
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    asked = sorted(map(int, (root / "asked.txt").read_text().split()))
    assert asked == [0, 0, 63]
    (root / "asked.txt").unlink()
    opened(tmp_path / "whole", pictures, COUNT, Counting(clip))
    assert content(root) == content(tmp_path / "whole")


def test_whatever_changes_the_embeddings_changes_the_store(pictures: Path, tmp_path: Path) -> None:
    plain = views(pictures)
    moved = shutil.copytree(pictures, tmp_path / "moved")
    assert store_facts(views(moved), "t") == store_facts(plain, "t"), "the same images elsewhere"
    altered = shutil.copytree(pictures, tmp_path / "altered")
    shutil.copy(altered / "000.png", altered / "001.png")
    changed = [
        store_facts(plain, "u"),
        store_facts(views(pictures, seed=6), "t"),
        store_facts(views(pictures, crop=0.4), "t"),
        store_facts(views(pictures, flip=False), "t"),
        store_facts(views(pictures, size=16), "t"),
        store_facts(Views(plain.images, 5, 0.5, True, 32, "bilinear"), "t"),
        store_facts(Views(subset(plain.images, range(9)), 5, 0.5, True, 32, "bicubic"), "t"),
        store_facts(views(altered), "t"),
    ]
    assert len({json.dumps(facts) for facts in (store_facts(plain, "t"), *changed)}) == 1 + len(changed)
