"""The teacher store is computed once, goes on where it stopped, and a file that was cut short is not believed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from promptstill.data import teacher_store
from promptstill.data.images import open_images, subset
from promptstill.data.teacher_store import TeacherStore, build_store, store_key
from promptstill.data.views import Views
from promptstill.engine import Stopper
from promptstill.errors import DataError, Interrupted
from promptstill.models.clip import Clip
from small_runs import StopAfter

COUNT = 25  # views an image: 10 images in batches of 4 are 75 jobs, and every 50 are a safe point


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_store, "BATCH", 4)


def views(folder: Path, *, seed: int = 5, crop: float = 0.5, flip: bool = True, size: int = 32) -> Views:
    return Views(open_images(folder), seed, crop, flip, size, "bicubic")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Counting:
    """The teacher, counting how often it is asked."""

    def __init__(self, clip: Clip) -> None:
        self.clip, self.asked = clip, 0

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += 1
        return self.clip.embed_images(images)


def test_it_holds_the_teachers_features_of_every_view(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    shown = views(pictures)
    store = build_store(tmp_path / "s", shown, 3, clip.embed_images, Stopper())
    assert store.embeddings.shape == (10, 3, clip.dim)
    assert store.embeddings.dtype == np.float16
    for number in range(3):
        wanted = clip.embed_images(shown.batch(range(10), number)).detach()
        torch.testing.assert_close(store.batch(torch.arange(10), number), wanted, atol=1e-3, rtol=0)
    chosen = store.batch(torch.tensor([9, 0]), 1)
    assert torch.equal(chosen, store.batch(torch.arange(10), 1)[[9, 0]])
    torch.testing.assert_close(chosen.norm(dim=-1), torch.ones(2))


def test_it_is_built_once(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    teacher = Counting(clip)
    for _ in range(2):
        build_store(tmp_path / "s", views(pictures), 2, teacher, Stopper())
    assert teacher.asked == 6


def test_a_build_that_was_stopped_ends_with_the_same_bytes_without_doing_twice(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    build_store(tmp_path / "whole", views(pictures), COUNT, clip.embed_images, Stopper())
    teacher = Counting(clip)
    with pytest.raises(Interrupted):
        build_store(tmp_path / "parts", views(pictures), COUNT, teacher, StopAfter(1))
    assert teacher.asked == 50
    with pytest.raises(DataError):
        TeacherStore(tmp_path / "parts")
    build_store(tmp_path / "parts", views(pictures), COUNT, teacher, Stopper())
    assert teacher.asked == 75
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
@pytest.mark.parametrize("when", ["finished", "stopped"])
def test_a_file_that_was_cut_short_is_made_again(
    clip: Clip, pictures: Path, tmp_path: Path, damage: str, when: str
) -> None:
    folder, whole = tmp_path / "s", tmp_path / "whole"
    build_store(whole, views(pictures), COUNT, clip.embed_images, Stopper())
    if when == "finished":
        shutil.copytree(whole, folder)
    else:
        with pytest.raises(Interrupted):
            build_store(folder, views(pictures), COUNT, clip.embed_images, StopAfter(1))
    path = folder / "embeddings.npy"
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2 if damage == "cut" else 0])
    with pytest.raises(DataError):
        TeacherStore(folder)
    build_store(folder, views(pictures), COUNT, clip.embed_images, Stopper())
    assert content(folder) == content(whole)


def test_whatever_changes_the_embeddings_changes_the_key(pictures: Path, tmp_path: Path) -> None:
    plain = views(pictures)
    moved = shutil.copytree(pictures, tmp_path / "moved")
    assert store_key(views(moved), 2, "t") == store_key(plain, 2, "t"), "the same images elsewhere"
    altered = shutil.copytree(pictures, tmp_path / "altered")
    shutil.copy(altered / "000.png", altered / "001.png")
    changed = [
        store_key(plain, 3, "t"),
        store_key(plain, 2, "u"),
        store_key(views(pictures, seed=6), 2, "t"),
        store_key(views(pictures, crop=0.4), 2, "t"),
        store_key(views(pictures, flip=False), 2, "t"),
        store_key(views(pictures, size=16), 2, "t"),
        store_key(Views(plain.images, 5, 0.5, True, 32, "bilinear"), 2, "t"),
        store_key(Views(subset(plain.images, range(9)), 5, 0.5, True, 32, "bicubic"), 2, "t"),
        store_key(views(altered), 2, "t"),
    ]
    assert len({store_key(plain, 2, "t"), *changed}) == 1 + len(changed)
