"""The teacher's story: labelled images in, a folder of prompts out that is a teacher wherever one is asked for."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from promptstill.artifacts import Report
from promptstill.cli import main
from promptstill.errors import DataError, Interrupted, MissingError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.teachers import load_teacher
from promptstill.pipelines import teach as pipeline
from promptstill.pipelines.teach import teach
from promptstill.settings import Vectors
from promptstill.stages.teach import class_vectors
from runs import Models, from_images, options
from small_runs import StopAfter
from tiny import make_clip, make_pictures

SETS = ("tune.epochs=3", "tune.views=2", "tune.batch_size=4", "tune.average_at=2")


@pytest.fixture(scope="module")
def taught(models: Models, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("teach") / "run"
    given: dict[str, Any] = {
        "teacher": f"dir:{models.clip}",
        "shots": 4,
        "device": "cpu",
        "benchmark": f"dir:{models.bench}",
    }
    return out, teach(f"dir:{models.bench}", out, classes="dog,cat", set=SETS, **given)


def test_the_folder_is_small_and_says_what_it_is(taught: tuple[Path, Report], clip: Clip) -> None:
    out, report = taught
    assert sum(path.stat().st_size for path in (out / "2-prompts").iterdir()) < 1_000_000
    assert not (out / "2-prompts" / "checkpoint.pt").exists()
    about = json.loads((out / "2-prompts" / "teacher.json").read_text())
    assert about["base_hash"] == clip.hash
    assert about["classes"] == ["dog", "cat"]
    assert about["images"] == 8
    assert about["settings"]["tune"]["epochs"] == 3
    assert about["training"].keys() == {"ce", "text", "image", "logits", "loss", "accuracy"}
    assert report.content["evaluation"]["trained"]["classes"] == 2
    assert report.content["evaluation"]["others"] == {"classes": 1, "before": 100.0, "after": 100.0}


def test_it_is_a_teacher_by_its_uri(taught: tuple[Path, Report], clip: Clip, tmp_path: Path) -> None:
    out, _ = taught
    teacher = load_teacher(f"prompted:{out}")
    assert teacher.uri == f"prompted:{out}"
    assert (teacher.dim, teacher.scale, teacher.preprocess) == (clip.dim, clip.scale, clip.preprocess)
    assert teacher.hash != clip.hash
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(teacher.embed_images(images), clip.embed_images(images), atol=1e-5)
    moved = shutil.copytree(out / "2-prompts", tmp_path / "moved")
    assert load_teacher(f"prompted:{moved}").hash == teacher.hash


def test_its_class_vectors_come_from_the_learned_prompts_for_any_name(taught: tuple[Path, Report], clip: Clip) -> None:
    teacher = load_teacher(f"prompted:{taught[0]}")
    made = class_vectors(teacher, ("dog", "zebra_finch"), Vectors(templates=("ignored {}", "also {}")))
    assert made.templates == ("a photo of a {}.",)
    assert made.teacher_hash == teacher.hash
    wanted = teacher.embed_texts(["a photo of a dog.", "a photo of a zebra finch."])
    torch.testing.assert_close(torch.from_numpy(made.vectors), wanted)
    plain = class_vectors(clip, made.names, Vectors())
    assert np.abs(made.vectors - plain.vectors).max() > 1e-4


def test_it_teaches_a_student(taught: tuple[Path, Report], models: Models, tmp_path: Path) -> None:
    out = tmp_path / "student"
    assert main(from_images(models, out, teacher=f"prompted:{taught[0]}")) == 0
    report = json.loads((out / "5-report" / "report.json").read_text())
    assert report["teacher_hash"] == load_teacher(f"prompted:{taught[0]}").hash


def test_a_run_that_was_stopped_ends_the_same(
    taught: tuple[Path, Report], models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"teacher": f"dir:{models.clip}", "shots": 4, "device": "cpu", "classes": "dog,cat"}
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "Stopper", lambda: StopAfter(2))
        with pytest.raises(Interrupted):
            teach(f"dir:{models.bench}", tmp_path / "run", set=SETS, **given)
    assert (tmp_path / "run" / "2-prompts" / "checkpoint.pt").is_file()
    teach(f"dir:{models.bench}", tmp_path / "run", set=SETS, **given)
    files = [folder / "2-prompts" / "prompts.safetensors" for folder in (tmp_path / "run", taught[0])]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_verb_learns_and_plans(models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = options(images=models.bench, teacher=f"dir:{models.clip}", shots=2, device="cpu", set=SETS)
    out = tmp_path / "run"
    assert main(["teach", *given, "--out", str(out), "--dry-run"]) == 0
    assert "2-prompts" in capsys.readouterr().out
    assert not out.exists()
    assert main(["teach", *given, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "prompts (text (2, 4, 16) and visual (2, 4, 32))" in shown
    assert f"--teacher prompted:{out}" in shown


def test_classes_without_labelled_images_are_told(models: Models, tmp_path: Path) -> None:
    given: dict[str, Any] = {"teacher": f"dir:{models.clip}", "device": "cpu"}
    with pytest.raises(DataError, match="has no image of owl; it has cat, dog, hot_air balloon"):
        teach(models.bench, tmp_path / "run", classes="dog,owl", **given)
    make_pictures(tmp_path / "one" / "dog", 2)
    with pytest.raises(DataError, match=r"one class \(dog\) is too few"):
        teach(tmp_path / "one", tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_prompted_teacher_is_not_prompted_again(taught: tuple[Path, Report], models: Models, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is prompted or joined already; give one base model"):
        teach(models.bench, tmp_path / "run", teacher=f"prompted:{taught[0]}", device="cpu")


def test_what_is_no_prompted_teacher_is_told(taught: tuple[Path, Report], tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="names no folder"):
        load_teacher(f"prompted:{tmp_path / 'none'}")
    with pytest.raises(DataError, match="is no prompted teacher"):
        load_teacher(f"prompted:{tmp_path}")
    copy = shutil.copytree(taught[0] / "2-prompts", tmp_path / "copy")
    with (copy / "prompts.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    with pytest.raises(DataError, match="missing or was altered"):
        load_teacher(f"prompted:{copy}")


def test_other_weights_under_the_same_name_are_refused(models: Models, tmp_path: Path) -> None:
    base = shutil.copytree(models.clip, tmp_path / "base")
    given: dict[str, Any] = {"teacher": f"dir:{base}", "shots": 2, "device": "cpu", "classes": "dog,cat"}
    teach(models.bench, tmp_path / "run", set=SETS, **given)
    make_clip(base, seed=1)
    with pytest.raises(DataError, match=r"was learned on weights \w+\.\.\., here are \w+\.\.\."):
        load_teacher(f"prompted:{tmp_path / 'run'}")
