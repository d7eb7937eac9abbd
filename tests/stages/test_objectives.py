"""What else the one loop can do: heads of scores, phases, batches in parts, averages, selections, a live teacher."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from promptstill.artifacts import read_json
from promptstill.data.images import open_images
from promptstill.errors import DataError, Interrupted, UsageError
from promptstill.models.bundle import load_bundle
from promptstill.models.clip import Clip, load_clip
from promptstill.models.learner import Average
from promptstill.models.student import Student, make_student
from promptstill.ops.targets import TARGETS
from promptstill.settings import Distill
from promptstill.stages.distill import prepare
from small_runs import CLASSES, StopAfter, distilled, vectors_of

HEAD: dict[str, Any] = {"target": "logit", "kl": 0, "feature": 0, "l1": 1}
PUBLISHED: dict[str, Any] = {"optimizer": "sgd", "schedule": "epoch", "lr": 0.005, "kl": 1000, "kl_per_class": True}


def state(folder: Path) -> dict[str, Tensor]:
    return load_bundle(folder / "student").student.state_dict()


def facts(folder: Path) -> dict[str, Any]:
    return read_json(folder / "student" / "config.json")["training"]


def apart(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_head_learns_its_kind_of_scores_and_its_bundle_names_the_teachers_class(
    clip: Clip, pictures: Path, tmp_path: Path, kind: str
) -> None:
    rows: list[dict[str, Any]] = []
    chosen = dict[str, Any](epochs=6, views=1, lr=1e-2, batch_size=10)
    chosen |= HEAD | {"target": kind, "centred": kind == "cosine"}
    distilled(clip, open_images(pictures), tmp_path, metric=lambda _, **row: rows.append(row), **chosen)
    assert rows[-1]["l1"] < rows[0]["l1"]
    assert all(row["loss"] == pytest.approx(row["l1"], abs=1e-5) for row in rows)
    bundle, images = load_bundle(tmp_path / "student"), torch.rand(4, 3, 32, 32)
    assert bundle.vectors.names == CLASSES
    with torch.no_grad():
        scores, logits = bundle.student(images), bundle.module()(images)
    assert scores.shape == logits.shape == (4, 3)
    assert torch.equal(logits.argmax(-1), TARGETS[kind].predict(scores))


def test_a_head_is_warmed_up_alone_and_a_stop_in_either_phase_changes_nothing(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    images, phases = open_images(pictures), list[tuple[str, int]]()
    chosen: dict[str, Any] = {**HEAD, "warm_epochs": 2, "warm_lr": 0.1, "epochs": 2, "optimizer": "sgd", "lr": 1e-3}
    chosen |= {"consistent": False, "select": "ema", "student": "timm:test_vit"}
    distilled(clip, images, tmp_path / "w", metric=lambda name, epoch, **_: phases.append((name, epoch)), **chosen)
    assert phases == [("warm-up", 1), ("warm-up", 2), ("distill", 1), ("distill", 2)]
    for stop in range(1, 5):
        with pytest.raises(Interrupted):
            distilled(clip, images, tmp_path / str(stop), stopper=StopAfter(stop), **chosen)
        distilled(clip, images, tmp_path / str(stop), **chosen)
        assert apart(state(tmp_path / "w"), state(tmp_path / str(stop))) == 0


def test_the_average_is_between_the_last_weights_and_those_before(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    images, uri = open_images(pictures), f"prompted:dir:{clip_dir}"
    for select in ("last", "ema"):
        distilled(clip, images, tmp_path / select, select=select, epochs=4, student=uri)
    last, averaged = state(tmp_path / "last"), state(tmp_path / "ema")
    start = make_student(uri, clip, None, None, seed=3).state_dict()
    moved = {name for name in last if not torch.equal(last[name], averaged[name])}
    assert "backbone.tokens" in moved
    assert not any("tower" in name for name in moved), "a frozen tower is not averaged"
    name = "backbone.tokens"
    assert (averaged[name] - start[name]).norm() < (last[name] - start[name]).norm()


def test_an_average_of_what_stands_still_stands_still() -> None:
    still = {"a": torch.rand(3), "count": torch.tensor(4)}
    average = Average(still, 0.9)
    for _ in range(5):
        average.update(still | {"count": torch.tensor(7)})
    torch.testing.assert_close(average.tensors["a"], still["a"])
    assert int(average.tensors["count"]) == 7


def test_the_epoch_of_best_agreement_on_held_out_images_is_kept(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    chosen: dict[str, Any] = {"select": "agreement", "held_out": 0.4, "epochs": 5, "lr": 0.05, "batch_size": 3}
    distilled(clip, open_images(pictures), tmp_path, metric=lambda _, **row: rows.append(row), **chosen)
    noted = facts(tmp_path)
    assert noted["kept_epoch"] == max(rows, key=lambda row: row["score"])["epoch"]
    assert noted["selected_on_test_data"] is False


def test_the_published_selection_asks_the_judge_and_says_so(clip: Clip, pictures: Path, tmp_path: Path) -> None:
    scores, seen = iter([1.0, 3.0, 2.0]), list[float]()

    def judge(student: Student) -> float:
        seen.append(float(student.projector.get_parameter("0.weight").detach().sum()))
        return next(scores)

    learner = distilled(clip, open_images(pictures), tmp_path, select="test", judge=judge, **PUBLISHED)
    assert float(learner.projector.get_parameter("0.weight").detach().sum()) == seen[1]
    noted = facts(tmp_path)
    assert (noted["kept_epoch"], noted["selected_on_test_data"]) == (2, True)
    assert noted["weights"] == {"kl": pytest.approx(1000 / len(CLASSES)), "feature": 10.0}
    with pytest.raises(UsageError, match="needs a --benchmark"):
        distilled(clip, open_images(pictures), tmp_path / "none", select="test")


def test_a_batch_in_parts_takes_the_step_of_the_whole_where_no_statistics_are_shared(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    images = open_images(pictures)
    chosen: dict[str, Any] = {**HEAD, "batch_size": 10, "epochs": 2, "optimizer": "sgd", "lr": 1e-2}
    chosen |= {"student": "timm:test_vit"}
    for name, micro in (("whole", None), ("parts", 3)):
        distilled(clip, images, tmp_path / name, micro_batch=micro, **chosen)
    assert apart(state(tmp_path / "whole"), state(tmp_path / "parts")) < 1e-5


def test_the_teacher_in_every_step_gives_the_student_of_the_store_but_for_rounding(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    images, uri = open_images(pictures), f"prompted:dir:{clip_dir}"
    for name in (True, False):
        distilled(clip, images, tmp_path / str(name), student=uri, store=name, optimizer="sgd")
    assert not (tmp_path / "False" / "store").exists()
    assert 0 < apart(state(tmp_path / "True"), state(tmp_path / "False")) < 1e-3


def test_mixed_precision_keeps_the_weights_that_learn_in_full(
    clip: Clip, clip_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"student": f"prompted:dir:{clip_dir}", "precision": "bf16-mixed"}
    learner = distilled(clip, open_images(pictures), tmp_path, **given)
    assert all(p.dtype == torch.float32 for p in learner.parameters())
    assert all(np.isfinite(tensor.numpy()).all() for tensor in state(tmp_path).values())


def test_class_vectors_of_another_teacher_are_refused(clip: Clip, clip_dir: Path, pictures: Path) -> None:
    other = load_clip(f"dir:{clip_dir}")
    with torch.no_grad():
        other.model.get_parameter("visual.proj")[0, 0] += 1
    student = make_student("timm:test_vit", other, None, None, 0)
    with pytest.raises(DataError, match=r"class vectors are those of dir:.*, not of dir:.*; make them again"):
        prepare(other, student, open_images(pictures), vectors_of(clip), Distill(), 0, None, StopAfter(1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "logit"}, "no embedding to compare; set distill.feature=0"),
        ({"target": "cosine", "feature": 0}, "cosine scores are no logits"),
        ({"kl": 0, "feature": 0}, "nothing to learn from"),
    ],
)
def test_an_objective_that_makes_no_sense_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Distill(**settings)
