"""From names to the paper's table: one set of images a strategy, students by seed, every domain whole."""

import json
from pathlib import Path

import pytest

from layouts import pictures
from promptstill.cli import main
from runs import PAINT, SMALL, Models, options


def test_from_names_to_the_papers_table(models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("bird", "car", "chair", "dog", "person")
    pictures(
        tmp_path / "VLCS",
        (f"{domain}/{name}/{n}.jpg" for domain in ("VOC2007", "LabelMe") for name in names for n in (1, 2)),
    )
    asked = {"data": f"vlcs:{tmp_path}", "out": tmp_path / "p", "teacher": f"dir:{models.clip}", "device": "cpu"}
    asked |= {"student": "timm:test_byobnet", "generator": f"dir:{models.vqgan}", "strategies": "mix"}
    command = ["protocol", "data-free", *options(**asked, seeds="1,2", set=(*SMALL, *PAINT, "synthesize.gate=false"))]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "| VLCS, micro | VOC2007 | LabelMe | mean | sd |" in table
    assert "| paper: R18 mix | 62.46 | 61.52 | 70.63 |  |" in table
    rows = json.loads((tmp_path / "p" / "result.json").read_text())["sets"]["VLCS"]
    assert set(rows) == {"teacher", "mix"}
    for figures in rows.values():
        both = [figures[name]["micro"]["mean"] for name in ("VOC2007", "LabelMe")]
        assert abs(figures["mean"]["micro"]["mean"] - sum(both) / 2) < 1e-6
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "p").rglob("done.json")}
    assert main(command) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "p").rglob("done.json")} == done
    (other,) = (tmp_path / "p").glob("*-mix-seed-2")
    strictness = json.loads((other / "5-report" / "report.json").read_text())["strictness"]
    assert strictness.startswith("No real image was used; the generator (dir:")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"strategies": "baseline,mixx"}, "'mixx': input should be 'baseline', 'mix', 'random' or 'contrastive'"),
        ({"teacher": "nano+nano-student", "strategies": "mix,random"}, "several teachers have no common token table"),
    ],
)
def test_what_a_later_strategy_could_not_do_is_told_before_the_first(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: dict[str, str], told: str
) -> None:
    given = {"data": f"dir:{models.bench}", "out": tmp_path / "p", "generator": f"dir:{models.vqgan}", "device": "cpu"}
    assert main(["protocol", "data-free", *options(**given | asked, set=(*SMALL, *PAINT))]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
