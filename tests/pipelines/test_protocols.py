"""The protocols on tiny models: real runs from shots to table, continued and not repeated, refused early."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from layouts import SYNSETS, imagenet, pictures, zhou
from promptstill.cli import main
from promptstill.errors import DataError, UsageError
from promptstill.measuring import BaseToNovel, Transfer
from promptstill.pipelines.protocols import run
from promptstill.pipelines.tables import base_to_novel_table, gathered
from promptstill.settings import Distill, Tune
from runs import Models

SMALL = {
    "tune": Tune(epochs=1, views=1, batch_size=4, templates=("a {}.",)),
    "distill": Distill(epochs=1, views=1, batch_size=8),
    "device": "cpu",
}


def cast(models: Models, **more: Any) -> dict[str, Any]:
    uri = f"dir:{models.clip}"
    return {"teacher": uri, "student": f"prompted:{uri}", "shots": 2} | SMALL | more


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dtd")
    zhou(root, "DescribableTextures", "images", ("banded", "dotted", "knitted"))
    return root


def test_base_to_novel_from_shots_to_table(models: Models, textures: Path, tmp_path: Path) -> None:
    settings = BaseToNovel(data=(f"dtd:{textures}",), out=tmp_path / "p", seeds=(1, 2), **cast(models))
    result = run(settings)
    rows = result["sets"]["DescribableTextures"]
    assert set(rows) == {"student", "teacher", "student zero-shot", "teacher zero-shot"}
    for figures in rows.values():
        assert set(figures) == {"base", "novel", "hm", "joint"}
        assert figures["novel"]["each"] == [100.0, 100.0]  # one novel class cannot be mistaken
        assert all(0 <= value <= 100 for value in figures["joint"]["each"])
    assert rows["student zero-shot"] == rows["teacher zero-shot"]  # they are the same model here
    about = json.loads((tmp_path / "p" / f"teacher-dtd-{slug(tmp_path)}-1" / "2-prompts/teacher.json").read_text())
    assert about["classes"] == ["banded", "dotted"]
    assert about["images"] == 4
    table = (tmp_path / "p" / "table.md").read_text()
    assert "| DescribableTextures |" in table
    assert "85.84 / 71.37 / 77.94" in table  # what the paper prints
    assert not result["adapted_to_test_images"]
    before = stamps(tmp_path / "p")
    assert run(settings)["sets"] == result["sets"]
    assert stamps(tmp_path / "p") == before  # nothing is done twice
    with pytest.raises(UsageError, match="holds another run"):
        run(settings.model_copy(update={"shots": 1}))


def slug(tmp_path: Path) -> str:
    (folder,) = (tmp_path / "p").glob("teacher-*-1")
    return folder.name.split("-")[2]


def stamps(root: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in root.rglob("done.json")}


def test_transfer_tunes_on_one_set_and_adapts_to_others(models: Models, tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet")
    pictures(tmp_path / "imagenet-a", (f"{synset}/{n}.jpg" for synset in SYNSETS[:3] for n in range(3)))
    uris = {"source": f"imagenet:{tmp_path / 'imagenet'}", "data": f"imagenet-a:{tmp_path / 'imagenet-a'}"}
    settings = Transfer(**uris, out=tmp_path / "p", seeds=(1, 2), one_teacher=True, **cast(models))  # pyright: ignore[reportArgumentType]
    result = run(settings)
    assert len(list((tmp_path / "p").glob("teacher-*"))) == 1
    assert result["adapted_to_test_images"] == ["ImageNetA"]
    assert "70.36" in (tmp_path / "p" / "table.md").read_text()
    assert set(result["sets"]["ImageNetA"]["student"]) == {"accuracy", "macro"}


def test_what_cannot_be_is_told_before_any_work(
    models: Models, textures: Path, bench_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p"
    plain = f"dir:{bench_dir}"
    with pytest.raises(DataError, match="same images for training and test"):
        run(BaseToNovel(data=(plain,), out=out, **cast(models)))
    with pytest.raises(UsageError, match="unknown timm model"):
        run(BaseToNovel(data=(f"dtd:{textures}",), out=out, **cast(models, student="timm:resnet1")))
    shutil.copytree(bench_dir / "ink", tmp_path / "two" / "train")
    shutil.copytree(bench_dir / "ink", tmp_path / "two" / "test")
    pictures(tmp_path / "two" / "test", ["yak/1.png"])
    with pytest.raises(DataError, match="tests 'yak', which its training split has not"):
        run(BaseToNovel(data=(f"dir:{tmp_path / 'two'}",), out=out, **cast(models)))
    assert not out.exists()


def test_the_average_is_the_harmonic_mean_of_averages() -> None:
    def seed(base: float, novel: float) -> dict[str, Any]:
        figures = {"base": base, "novel": novel, "hm": 2 * base * novel / (base + novel), "joint": 1.0}
        return {"teacher": figures, "student": figures}

    sets = gathered({"A": {"1": seed(80, 40), "2": seed(90, 50)}, "EuroSAT": {"1": seed(40, 80), "2": seed(50, 90)}})
    assert sets["A"]["student"]["base"] == {"mean": 85.0, "sd": 7.071, "each": [80.0, 90.0]}
    settings = {"shots": 16, "teacher": "t", "student": "s", "seeds": [1, 2]}
    table = base_to_novel_table(
        {"sets": sets, "settings": settings, "adapted_to_test_images": [], "selected_on_test_data": False}
    )
    assert "| **average** | 65.00 / 65.00 / 65.00 | 65.00 / 65.00 / 65.00 |" in table
    assert "| 94.79 / 83.15 / 88.59 | 97.54 / 82.08 / 89.14 |" in table


def test_the_verb_says_what_it_would_do(models: Models, textures: Path, tmp_path: Path, capsys: Any) -> None:
    asked = ["protocol", "base-to-novel", "--data", f"dtd:{textures}", "--teacher", f"dir:{models.clip}"]
    asked += ["--student", f"prompted:dir:{models.clip}", "--seeds", "1,2", "--out", str(tmp_path / "p"), "--dry-run"]
    assert main([*asked, "--device", "cpu", "--shots", "0"]) == 0
    assert "DescribableTextures: 4-stu" in capsys.readouterr().out
    assert not (tmp_path / "p").exists()
