"""The verbs: every setting of the Python API is an option, answers are what the library gives, errors are one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import promptstill
from promptstill.cli import main, plain_fields
from promptstill.settings import FromImages, FromNames, Teach
from runs import Models, from_images, from_names


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


def test_a_damaged_picture_does_not_take_the_others_answers(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = sorted(pictures.iterdir())[0], tmp_path / "bad.png"
    bad.write_text("no picture")
    assert main(["predict", str(run), str(bad), str(good)]) == 3
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{good}: ")
    assert f"{bad}: not an image" in shown.err


def test_damaged_test_pictures_are_told_before_any_work(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dog/1.png", "cat/2.png"):
        (tmp_path / "bench" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bench" / name).write_text("no picture")
    good = sorted(models.pictures.iterdir())[0]
    (tmp_path / "bench" / "dog" / "3.png").write_bytes(good.read_bytes())
    assert main(from_names(models, tmp_path / "run", benchmark=f"dir:{tmp_path / 'bench'}")) == 3
    told = capsys.readouterr().err
    assert "2 of 3 test pictures of bench cannot be read" in told
    assert "dog/1.png (not an image" in told
    assert "cat/2.png" in told
    assert not (tmp_path / "run").exists()


def test_a_keyboard_interrupt_reads_as_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("promptstill.pipelines.about.catalogue", interrupted)
    assert main(["list"]) == 75
    assert "start the same command again" in capsys.readouterr().err


def test_evaluate_writes_the_figures(
    run: Path, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    assert main(["evaluate", str(run), "--benchmark", f"dir:{models.bench}", "--json", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert figures.keys() == {"benchmark", "classes", "chance", "not_tested", "domains", "mean"}
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
