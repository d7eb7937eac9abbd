"""The one training loop: the teacher is frozen, the source of the images is unknown, a stop changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from promptstill.artifacts import sha256
from promptstill.data.images import Images, open_images, subset
from promptstill.errors import DataError, Interrupted, UsageError
from promptstill.models.clip import Clip
from promptstill.models.student import make_student
from promptstill.ops.hashing import state_hash
from promptstill.stages.distill import _batches
from small_runs import Renamed, StopAfter, as_parquet, as_tar, distilled

STUDENTS = ("timm:test_byobnet", "timm:test_vit", "clip")


def named(images: Images) -> Renamed:
    """Under ids that do not tell the source."""
    return Renamed(images, tuple(f"{i:03d}" for i in range(len(images))))


def weights(folder: Path) -> str:
    return sha256(folder / "student" / "model.safetensors")


def backbone(folder: Path) -> dict[str, Tensor]:
    state = load_file(folder / "student" / "model.safetensors")
    return {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}


def changed(clip: Clip, uri: str, folder: Path) -> set[str]:
    """The backbone's tensors that are no longer those of the start."""
    start = make_student(uri, clip, None, None, seed=3).state_dict()
    return {name for name, tensor in backbone(folder).items() if not torch.equal(tensor, start[name])}


def test_it_cannot_know_where_the_images_come_from(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    sources = {
        "folder": pictures,
        "tar": as_tar(pictures, tmp_path / "p.tar"),
        "parquet": as_parquet(pictures, tmp_path / "p.parquet"),
    }
    for name, source in sources.items():
        distilled(clip, named(open_images(source)), tmp_path / name)
    assert len({weights(tmp_path / name) for name in sources}) == 1
    distilled(clip, open_images(pictures), tmp_path / "ids")
    assert weights(tmp_path / "ids") != weights(tmp_path / "tar"), "views follow the ids"


@pytest.mark.parametrize("train", ["all", "projector", "prompts"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_stopped_training_ends_with_the_same_student_bit_for_bit(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path, train: str, epoch: int
) -> None:
    images = open_images(pictures)
    given: dict[str, Any] = {"train": train, "student": f"prompted:dir:{clip_dir}"} if train == "prompts" else {}
    distilled(clip, images, tmp_path / "whole", **given)
    with pytest.raises(Interrupted):
        distilled(clip, images, tmp_path / "parts", **given, stopper=StopAfter(epoch))
    student = tmp_path / "parts" / "student"
    assert (student / "checkpoint.ckpt").is_file()
    assert not (student / "config.json").exists()
    epochs: list[int] = []
    distilled(clip, images, tmp_path / "parts", **given, metric=lambda _, epoch, **__: epochs.append(epoch))
    assert epochs == list(range(epoch + 1, 4))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    files = {"model.safetensors", "config.json", "vectors.safetensors", "vectors.json"}
    assert {path.name for path in student.iterdir()} == files


@pytest.mark.parametrize("kind", STUDENTS)
def test_the_projector_alone_leaves_the_backbone_untouched(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path, kind: str
) -> None:
    uri = f"dir:{clip_dir}" if kind == "clip" else kind
    distilled(clip, open_images(pictures), tmp_path, student=uri, train="projector")
    assert changed(clip, uri, tmp_path) == set()


@pytest.mark.parametrize("kind", STUDENTS)
def test_all_weights_learn_if_asked(clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path, kind: str) -> None:
    uri = f"dir:{clip_dir}" if kind == "clip" else kind
    learner = distilled(clip, open_images(pictures), tmp_path, student=uri)
    learned = changed(clip, uri, tmp_path)
    assert {f"backbone.{name}" for name, _ in learner.backbone.named_parameters()} <= learned
    moved = {name for name in backbone(tmp_path) if name.endswith("running_mean")}
    assert moved <= learned


def test_a_backbone_without_a_learning_rate_is_frozen_with_its_statistics(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    distilled(clip, open_images(pictures), tmp_path, backbone_lr=0.0)
    assert changed(clip, "timm:test_byobnet", tmp_path) == set()


@pytest.mark.parametrize("train", ["auto", "prompts", "all"])
def test_of_a_prompted_student_only_what_was_asked_learns(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path, train: str
) -> None:
    uri = f"prompted:dir:{clip_dir}"
    learner = distilled(clip, open_images(pictures), tmp_path, student=uri, train=train)
    frozen = {name for name in backbone(tmp_path) if name != "backbone.tokens"}
    moved = changed(clip, uri, tmp_path)
    assert "backbone.tokens" in moved
    assert not moved & frozen if train != "all" else frozen <= moved
    assert all(p.requires_grad == (train == "all") for p in learner.tower.parameters())


def test_a_student_without_prompts_cannot_learn_prompts(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"timm:test_byobnet has no prompts .* distill\.train=all"):
        distilled(clip, open_images(pictures), tmp_path, train="prompts")


def test_the_teacher_stays_as_it_was(clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path) -> None:
    before = state_hash(clip.model)
    distilled(clip, open_images(pictures), tmp_path, student=f"dir:{clip_dir}")
    assert state_hash(clip.model) == before
    assert not any(module.training for module in clip.model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in clip.model.parameters())


@pytest.mark.parametrize("train", ["all", "projector"])
def test_the_loss_falls(clip: Clip, pictures: Path, tmp_path: Path, train: str) -> None:
    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"train": train, "epochs": 15, "views": 1, "lr": 1e-2, "batch_size": 10}
    distilled(clip, open_images(pictures), tmp_path, metric=lambda _, **row: rows.append(row), **settings)
    assert [row["epoch"] for row in rows] == list(range(1, 16))
    assert all(row.keys() >= {"loss", "kl", "feature", "agreement"} for row in rows)
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    for row in rows:
        assert row["loss"] == pytest.approx(row["kl"] + 10 * row["feature"], abs=1e-4)


def test_weights_of_the_terms_are_what_the_settings_say(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    distilled(clip, open_images(pictures), tmp_path, kl=3.0, feature=0.0, metric=lambda _, **row: rows.append(row))
    assert all(row["loss"] == pytest.approx(3 * row["kl"], abs=1e-4) for row in rows)


def test_other_settings_or_seeds_give_another_student_and_the_same_the_same(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    images = open_images(pictures)
    changes: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "c": {"temperature": 4.0}, "d": {"flip": False}}
    for name, settings in changes.items():
        distilled(clip, images, tmp_path / name, **settings)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert len({weights(tmp_path / name) for name in "acd"}) == 3


def test_one_image_is_too_few(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two"):
        distilled(clip, subset(open_images(pictures), [0]), tmp_path)


def test_every_image_is_seen_once_an_epoch_but_a_last_single_one() -> None:
    for count, size in ((10, 4), (9, 4), (2, 8), (64, 64)):
        batches = list(_batches(torch.arange(count), size, 0, 3))
        seen = torch.cat(batches).tolist()
        assert len(set(seen)) == len(seen) == count - (count % size == 1)
        assert all(len(batch) > 1 for batch in batches)
        again = list(_batches(torch.arange(count), size, 0, 3))
        assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))
    first, second = (next(iter(_batches(torch.arange(64), 64, 0, epoch))) for epoch in (1, 2))
    assert not torch.equal(first, second)
