"""Few labels on top of a distilled student, beside the same student undistilled: shots and tests never overlap."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from promptstill.cli import main
from promptstill.data.labelled import open_labelled
from promptstill.errors import DataError
from promptstill.measuring import FewShot
from promptstill.models.bundle import load_bundle
from promptstill.ops.metrics import clusters
from promptstill.ops.preprocess import to_array, to_unit
from promptstill.pipelines.few_shot import episodes, run
from promptstill.settings import Distill
from runs import Models, from_images


@pytest.fixture(scope="module")
def student(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "r"
    assert main(from_images(models, out, student="timm:test_byobnet")) == 0
    return out


@pytest.mark.parametrize("count", [1, 2, 16])
def test_the_rest_of_a_domain_is_tested_and_no_class_is_used_up(bench_dir: Path, count: int) -> None:
    data = open_labelled(f"dir:{bench_dir}", "test")
    parts = episodes(data, data, count, seed=1)
    assert [set(test.domains) for _, test in parts] == [{"ink"}, {"paint"}]
    for shots, test in parts:
        assert not set(shots.images.ids) & set(test.images.ids)
        assert len(shots) == 3 * min(count, 2)
        assert len(shots) + len(test) == 9
        assert set(test.labels) == {0, 1, 2}


def test_a_training_split_gives_the_shots() -> None:
    train, test = (open_labelled("pictograms", split) for split in ("train", "test"))
    ((shots, tested),) = episodes(train, test, 2, seed=1)
    assert len(shots) == 2 * len(train.classes)
    assert tested is test


def test_curves_and_features_of_both_students(models: Models, student: Path, tmp_path: Path) -> None:
    small = Distill(batch_size=4, views=2, epochs=1)
    settings = FewShot(
        student=student,
        data=f"dir:{models.bench}",
        out=tmp_path / "f",
        shots=(1, 2),
        seeds=(1, 2),
        steps=2,
        distill=small,
    )
    result = run(settings)
    assert set(result["shots"]) == {"1", "2"}
    for rows in result["shots"].values():
        assert all(0 <= rows[who]["mean"] <= 100 for who in ("distilled", "not distilled"))
    assert set(result["features"]) == {"distilled", "not distilled"}
    assert result["features"]["distilled"] != result["features"]["not distilled"]
    for name in ("curves.png", "features.png"):
        assert (settings.out / name).read_bytes().startswith(b"\x89PNG")
    assert "| labelled images a class | distilled | not distilled |" in (settings.out / "table.md").read_text()
    done = sorted(p.stat().st_mtime_ns for p in settings.out.rglob("done.json"))
    assert run(settings)["shots"] == result["shots"]
    assert sorted(p.stat().st_mtime_ns for p in settings.out.rglob("done.json")) == done


def test_the_map_of_a_student_with_a_head_shows_what_goes_into_it(models: Models, tmp_path: Path) -> None:
    head = ("distill.target=logit", "distill.feature=0", "distill.kl=0", "distill.l1=1")
    assert main(from_images(models, tmp_path / "r", student="timm:test_byobnet", set=head)) == 0
    small = Distill(batch_size=4, views=2, epochs=1, target="logit", feature=0, kl=0, l1=1)
    given: dict[str, Any] = {"student": tmp_path / "r", "data": f"dir:{models.bench}", "out": tmp_path / "f"}
    features = run(FewShot(**given, shots=(1,), seeds=(1,), steps=1, distill=small))["features"]
    student = load_bundle(tmp_path / "r").student
    test = open_labelled(f"dir:{models.bench}", "test").restrict(("dog", "cat"))
    pre = student.architecture.preprocess
    pictures = to_unit(np.stack([to_array(test.images.read(i), pre) for i in range(len(test))]))
    with torch.no_grad():
        seen = F.normalize(student.eval().features(pictures), dim=-1).numpy()
    assert features["distilled"]["knn"] == pytest.approx(clusters(seen, np.array(test.labels))["knn"])


def test_a_bundle_without_its_run_is_refused(models: Models, student: Path, tmp_path: Path, capsys: Any) -> None:
    settings = FewShot(student=student / "4-student", data=f"dir:{models.bench}", out=tmp_path / "f")
    with pytest.raises(DataError, match="is no run folder"):
        run(settings)
    asked = ["--student", str(student), "--data", f"dir:{models.bench}", "--out", str(tmp_path / "g"), "--dry-run"]
    assert main(["protocol", "few-shot", *asked]) == 0
    assert "fine-tune" in capsys.readouterr().out
    assert not (tmp_path / "g").exists()
