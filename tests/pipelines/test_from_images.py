"""Unlabeled images and class names in, classifier out: the whole story on tiny models."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import promptstill
from promptstill.cli import main
from promptstill.errors import MissingError
from runs import LISTING, SMALL, Models, from_images, products, read
from small_runs import as_parquet, as_tar


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("images") / "run"
    assert main(from_images(models, out)) == 0
    return out


def test_the_run_folder_is_as_promised_but_has_no_prompts(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == LISTING - {"2-prompts"}
    assert {path.name for path in (run / "3-images").iterdir()} == {"index.jsonl", "teacher-store", "done.json"}


def test_the_report_counts_the_images(run: Path) -> None:
    report = read(run / "5-report" / "report.json")
    assert report["pipeline"] == "from-images"
    assert report["strictness"] == "It saw 10 unlabeled images and no label."
    assert report["stages"]["3-images"] | {"seconds": 0} == {"images": 10, "rejected": 0, "seconds": 0}
    assert list(report["stages"]) == ["1-vectors", "3-images", "4-student"]


def test_python_gives_the_same_result_as_the_command_line(run: Path, models: Models, tmp_path: Path) -> None:
    given: dict[str, Any] = {"teacher": f"dir:{models.clip}", "student": "timm:test_byobnet", "device": "cpu"}
    given |= {"benchmark": f"dir:{models.bench}", "set": SMALL}
    report = promptstill.from_images(models.pictures, "dog,cat", tmp_path / "run", **given)
    assert products(tmp_path / "run") == products(run)
    assert report.content["evaluation"] == read(run / "5-report" / "report.json")["evaluation"]


def test_a_finished_run_started_again_does_nothing(run: Path, models: Models) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.json")}
    assert main(from_images(models, run)) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.json")} == before


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_tar_and_parquet_make_a_student_too(models: Models, tmp_path: Path, kind: str) -> None:
    source = (as_tar if kind == "tar" else as_parquet)(models.pictures, tmp_path / f"p.{kind}")
    assert main(from_images(models, tmp_path / "run", images=source, student="timm:test_vit")) == 0
    assert read(tmp_path / "run" / "5-report" / "report.json")["stages"]["3-images"]["images"] == 10


def test_bad_images_are_left_out_and_told(models: Models, tmp_path: Path) -> None:
    folder = shutil.copytree(models.pictures, tmp_path / "pictures")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "cut.png").write_bytes((folder / "000.png").read_bytes()[:60])
    assert main(from_images(models, tmp_path / "run", images=folder, limit=12)) == 0
    noted = read(tmp_path / "run" / "3-images" / "done.json")
    assert (noted["images"], noted["rejected"]) == (10, 2)
    index = (tmp_path / "run" / "3-images" / "index.jsonl").read_text()
    assert "bad.png" in index
    assert "cut.png" in index


def test_a_limit_uses_the_first_images(models: Models, tmp_path: Path) -> None:
    assert main(from_images(models, tmp_path / "run", limit=4)) == 0
    assert read(tmp_path / "run" / "3-images" / "done.json")["images"] == 4


def test_one_build_of_the_teacher_store_serves_other_class_lists(run: Path, models: Models, tmp_path: Path) -> None:
    assert main(from_images(models, tmp_path / "run", classes="dog,cat,hot air balloon")) == 0
    stores = [next((out / "3-images" / "teacher-store").iterdir()).name for out in (run, tmp_path / "run")]
    assert stores[0] == stores[1]


def test_the_projector_alone(models: Models, tmp_path: Path) -> None:
    assert main(from_images(models, tmp_path / "run", set=["distill.train=projector"])) == 0
    assert not (tmp_path / "run" / "4-student" / "features").exists()


def test_a_student_is_measured_again_and_its_missing_teacher_told(run: Path, models: Models, tmp_path: Path) -> None:
    figures = promptstill.evaluate(run, f"dir:{models.bench}", json=tmp_path / "deep" / "figures.json")
    assert figures == read(tmp_path / "deep" / "figures.json")
    assert figures == read(run / "5-report" / "report.json")["evaluation"]
    with pytest.raises(MissingError):
        promptstill.evaluate(run, f"dir:{models.bench}", teacher="dir:no/such")


@pytest.mark.parametrize("mode", ["store", "online"])
def test_the_text_tower_runs_before_the_class_vectors_are_done_and_never_after(
    models: Models, tmp_path: Path, mode: str
) -> None:
    calls = {False: 0, True: 0}

    def count(module: nn.Module, *_: object) -> None:
        if isinstance(module, nn.Embedding):  # of words: no image tower has one
            calls[(tmp_path / "run" / "1-vectors" / "done.json").is_file()] += 1

    with nn.modules.module.register_module_forward_hook(count):
        student = f"prompted:dir:{models.clip}"
        assert main(from_images(models, tmp_path / "run", student=student, teacher_mode=mode)) == 0
    assert calls[False] >= 1
    assert calls[True] == 0, "in training, evaluation and report"


def test_one_shared_store_serves_other_seeds_students_class_lists_and_temperatures(
    models: Models, tmp_path: Path
) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"classes": "dog,cat,yak"}, {"set": ["distill.temperature=3"]}]
    for number, change in enumerate(changes):
        given = {"store": tmp_path / "store", "student": ("timm:test_vit", "timm:test_byobnet")[number % 2]}
        assert main(from_images(models, tmp_path / f"run{number}", **given, **change)) == 0
        assert not (tmp_path / f"run{number}" / "3-images" / "teacher-store").exists()
    assert len(list((tmp_path / "store").iterdir())) == 1
