"""Class vectors alone, and a finished student for other class names without training."""

import json
from pathlib import Path

import numpy as np
import pytest

import promptstill
from promptstill.artifacts import ClassVectors
from promptstill.cli import main
from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.pipelines.vectors import retarget_student, vectors
from promptstill.settings import Vectors
from promptstill.stages.teach import class_vectors
from runs import Models, from_images, options
from tiny import make_clip


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectors") / "run"
    assert main(from_images(models, out, set=("vectors.templates=['A {}', 'the {}']",))) == 0
    return out


def test_they_are_made_alone(models: Models, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = options(classes="dog,cat", out=tmp_path / "v", teacher=f"dir:{models.clip}", set=["templates=[EuroSAT]"])
    assert main(["vectors", *given]) == 0
    assert "2 classes" in capsys.readouterr().out
    made = ClassVectors.load(tmp_path / "v")
    assert made.templates == ("a centered satellite photo of {}.",)
    assert (made.teacher, made.teacher_hash) == (f"dir:{models.clip}", clip.hash)
    wanted = class_vectors(clip, ("dog", "cat"), Vectors(templates=("a centered satellite photo of {}.",)))
    assert np.array_equal(made.vectors, wanted.vectors)
    assert main(["vectors", *given]) == 0  # again, into its own folder


def test_a_student_gets_other_classes_without_training(
    run: Path, clip: Clip, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, names = tmp_path / "new", ("owl", "zebra", "ship")
    assert main(["vectors", *options(student=run, classes=",".join(names), out=out)]) == 0
    wanted = class_vectors(clip, names, Vectors(templates=("A {}", "the {}")))
    shipped = promptstill.load(out)
    assert shipped.labels == names
    assert np.array_equal(shipped.bundle.vectors.vectors, wanted.vectors)
    config = json.loads((out / "config.json").read_text())
    assert config["labels"] == list(names)
    assert config["training"]["first_classes"] == ["dog", "cat"]
    assert "not measured on the new ones" in (out / "README.md").read_text()
    paths = sorted(pictures.iterdir())[:3]
    now = promptstill.load(run).retarget(["owl", "zebra", "ship"])
    assert np.array_equal(now.predict_proba(paths), shipped.predict_proba(paths))
    same = promptstill.load(run).retarget(["dog", "cat"])
    assert np.array_equal(same.predict_proba(paths), promptstill.load(run).predict_proba(paths))


@pytest.mark.parametrize(("weights", "members"), [("equal", ()), ("confidence", (16, 16))])
def test_several_teachers_as_one_teach_a_student(
    models: Models, tmp_path: Path, weights: str, members: tuple[int, ...]
) -> None:
    other = make_clip(tmp_path / "other", seed=1)
    uri = f"dir:{models.clip}+dir:{other}"
    assert main(from_images(models, tmp_path / "run", teacher=uri, set=(f"vectors.weights={weights}",))) == 0
    made = promptstill.load(tmp_path / "run")
    assert made.bundle.vectors.members == members
    assert made.bundle.vectors.teacher == uri
    assert made.bundle.student.architecture.dim == 32
    report = json.loads((tmp_path / "run" / "5-report" / "report.json").read_text())
    assert report["evaluation"]["mean"].keys() >= {"teacher", "student"}
    assert made.retarget(["owl", "fox"]).labels == ("owl", "fox")


def test_only_the_students_own_teacher_serves(run: Path, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other", seed=1)
    with pytest.raises(DataError, match=r"the student learned from weights \w+\.\.\., dir:.*other has \w+\.\.\.; give"):
        promptstill.load(run).retarget(["owl", "zebra"], teacher=f"dir:{other}")
    with pytest.raises(DataError, match="'Owl' stands twice"):
        promptstill.load(run).retarget(["owl", "Owl"])


def test_another_folder_is_left_alone(run: Path, models: Models, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        vectors("dog,cat", tmp_path, f"dir:{models.clip}")
    with pytest.raises(UsageError, match="holds something else"):
        retarget_student(run, "dog,cat", tmp_path)
    with pytest.raises(UsageError, match=r"templates=\[x\]: a student's new vectors"):
        retarget_student(run, "dog,cat", tmp_path / "new", set=["templates=[x]"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
