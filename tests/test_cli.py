"""The verbs: every setting of the Python API is an option, answers are what the library gives, errors are one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import promptstill
from promptstill.cli import main, plain_fields
from promptstill.settings import FromImages, FromNames, Teach
from runs import Models, from_images


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(from_images(models, out)) == 0
    return out


def test_every_plain_setting_is_an_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for verb, kind in (("from-names", FromNames), ("from-images", FromImages), ("teach", Teach)):
        assert main([verb, "--help"]) == 0
        shown = capsys.readouterr().out
        for name in (*plain_fields(kind), "preset", "config", "set", "dry_run"):
            assert "--" + name.replace("_", "-") in shown


def test_the_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("from-names", "from-images", "evaluate", "predict", "list", "doctor"))


def test_what_can_be_named_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for words in ("teachers:", "openclip:MODEL/TAG", "timm:ARCH", "nano-vqgan", "pictograms", "fast, best"):
        assert words in shown


def test_predict_names_what_the_library_names(run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(pictures.iterdir())[:3]
    assert main(["predict", str(run), *map(str, paths), "--json", "--top", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = promptstill.load(run).predict(paths, top=2)
    assert [row["image"] for row in rows] == [str(path) for path in paths]
    assert [row["predictions"] for row in rows] == [[vars(p) for p in row] for row in wanted]
    assert main(["predict", str(run / "4-student"), str(paths[0])]) == 0
    assert capsys.readouterr().out.startswith(f"{paths[0]}: {wanted[0][0].label} ")


def test_evaluate_writes_the_figures(
    run: Path, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    assert main(["evaluate", str(run), "--benchmark", f"dir:{models.bench}", "--json", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert figures.keys() == {"benchmark", "classes", "chance", "domains", "mean"}
    assert figures["mean"].keys() == {"teacher", "student", "teacher_macro", "student_macro"}
    assert figures["domains"]["ink"].keys() == figures["mean"].keys() | {"n"}
    assert "ink" in capsys.readouterr().out


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "promptstill", "from-names", "--classes", "a,b", "--out", "x", "--set", "seed=-1"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr == "promptstill: seed = -1: input should be greater than or equal to 0\n"
    assert not list(tmp_path.iterdir())
