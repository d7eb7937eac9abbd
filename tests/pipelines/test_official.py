"""Official files become teachers and students of ours, and ours become official files."""

import os
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

import promptstill
from golden_models import FOLDER
from promptstill.cli import main
from promptstill.engine import stream
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import save_bundle
from promptstill.models.clip import Clip, load_clip
from promptstill.models.prompts import fresh_tokens, load_prompts
from promptstill.models.student import make_student
from promptstill.models.teachers import load_teacher, save_teacher
from promptstill.pipelines.official import export_official, import_official
from runs import options
from small_runs import vectors_of
from tiny import make_clip


@pytest.fixture
def taught(clip: Clip, tmp_path: Path) -> Path:
    """A prompted teacher of ours."""
    prompts = {"visual": fresh_tokens(2, 4, 32, stream(0, "v")), "text": fresh_tokens(2, 4, 16, stream(0, "t"))}
    (tmp_path / "taught").mkdir()
    save_teacher(tmp_path / "taught", clip, prompts, "a photo of a {}.", {"classes": ["dog", "cat"]})
    return tmp_path / "taught"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another CLIP, whose space is another."""
    return make_clip(tmp_path_factory.mktemp("other") / "clip", seed=1)


@pytest.fixture
def student(clip: Clip, clip_dir: Path, other: Path, tmp_path: Path) -> Path:
    """A prompted student of ours, on one CLIP under another."""
    teacher = load_clip(f"dir:{other}")
    made = make_student(f"prompted:dir:{clip_dir}", teacher, None, None, seed=0)
    (tmp_path / "student").mkdir()
    save_bundle(made, vectors_of(teacher), {}, tmp_path / "student")
    return tmp_path / "student"


def test_a_teacher_goes_out_and_comes_in_the_same(
    taught: Path, clip_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, back = tmp_path / "VLPromptLearner" / "model-best.pth.tar", tmp_path / "back"
    assert main(["export-official", str(taught), str(file)]) == 0
    assert main(["import-official", str(file), *options(base=f"dir:{clip_dir}", out=back)]) == 0
    assert f"a teacher of epoch 20. Use it: --teacher prompted:{back}" in capsys.readouterr().out
    ours, theirs = (load_prompts(folder / "prompts.safetensors") for folder in (taught, back))
    ours["text"][0] = ours["text"][0].half().float()  # the one tensor of prompts that these files keep in float16
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    assert load_teacher(f"prompted:{back}").template == "a photo of a {}."
    assert sum(path.stat().st_size for path in back.iterdir()) < 1_000_000


def test_a_student_goes_out_and_comes_in_the_same(
    student: Path, clip_dir: Path, other: Path, pictures: Path, tmp_path: Path
) -> None:
    file, back = tmp_path / "model-best.pth.tar", tmp_path / "back"
    assert main(["export-official", str(student), str(file)]) == 0
    given = options(base=f"dir:{clip_dir}", out=back, teacher=f"dir:{other}", classes="dog,cat,hot_air balloon")
    assert main(["import-official", str(file), *given]) == 0
    paths = sorted(pictures.iterdir())[:4]
    ours, theirs = promptstill.load(student).predict_proba(paths), promptstill.load(back).predict_proba(paths)
    torch.testing.assert_close(torch.from_numpy(theirs), torch.from_numpy(ours), rtol=0, atol=0.02)  # through float16


def test_a_student_needs_a_teacher_for_its_class_vectors(student: Path, clip_dir: Path, tmp_path: Path) -> None:
    export_official(student, tmp_path / "file")
    with pytest.raises(UsageError, match="is a student and holds no class vectors; give --teacher and --classes"):
        import_official(tmp_path / "file", tmp_path / "out", f"dir:{clip_dir}")
    with pytest.raises(DataError, match=r"projector leads from 16 to 16 dimensions, but .* the teacher wants 128"):
        import_official(tmp_path / "file", tmp_path / "out", f"dir:{clip_dir}", "nano", ("dog", "cat"))
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_model_is_refused(taught: Path, other: Path, tmp_path: Path) -> None:
    export_official(taught, tmp_path / "file")
    with pytest.raises(DataError, match="was learned on other weights than dir:"):
        import_official(tmp_path / "file", tmp_path / "out", f"dir:{other}")
    golden = FOLDER / "official" / "teacher" / "model-best.pth.tar"
    with pytest.raises(DataError, match=r"is \(.*\) in the file, \(.*\) in dir:.*; use the file's own model"):
        import_official(golden, tmp_path / "out", f"dir:{other}")
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_prompt_or_with_an_odd_one_is_refused_by_name(
    taught: Path, clip_dir: Path, tmp_path: Path
) -> None:
    export_official(taught, tmp_path / "file")
    content = torch.load(tmp_path / "file", weights_only=True)
    name = "image_encoder.VPT"
    for change, message in ((None, f"lacks the visual prompts {name}"), (torch.zeros(4, 31), "has shape")):
        state = OrderedDict(content["state_dict"])
        state.pop(name) if change is None else state.update({name: change})
        torch.save(content | {"state_dict": state}, tmp_path / "changed")
        with pytest.raises(DataError, match=message):
            import_official(tmp_path / "changed", tmp_path / "out", f"dir:{clip_dir}")


class Bomb:
    """Runs a command when a plain pickle loads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)  # pyright: ignore[reportDeprecated]


def test_a_hostile_file_ends_the_verb_and_runs_nothing(
    tmp_path: Path, clip_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}, "optimizer": Bomb(f"touch {tmp_path / 'ran'}")}, tmp_path / "file")
    assert main(["import-official", str(tmp_path / "file"), *options(base=f"dir:{clip_dir}", out=tmp_path / "o")]) == 3
    assert "which no checkpoint of this kind needs; it was not read" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "o").exists()


def test_what_official_files_have_no_place_for_is_refused(
    taught: Path, clip: Clip, clip_dir: Path, tmp_path: Path
) -> None:
    export_official(taught, tmp_path / "file")
    with pytest.raises(UsageError, match="is prompted or joined already; give the one CLIP"):
        import_official(tmp_path / "file", tmp_path / "out", f"prompted:{taught}")
    with pytest.raises(UsageError, match="exists; choose another file"):
        export_official(taught, tmp_path / "file")
    prompts = {"text": fresh_tokens(1, 2, 16, stream(0, "t"))}
    (tmp_path / "odd").mkdir()
    save_teacher(tmp_path / "odd", clip, prompts, "a sketch of {}.", {})
    with pytest.raises(UsageError, match=r"learned in 'a sketch of \{\}\.'; official files know only"):
        export_official(tmp_path / "odd", tmp_path / "x")
    shared = make_student(f"prompted:dir:{clip_dir}", clip, None, None, seed=0)
    plain = make_student("timm:test_byobnet", clip, None, None, seed=0)
    for made, message in ((shared, "projector is added to its features"), (plain, "has no prompts")):
        folder = tmp_path / "made"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        save_bundle(made, vectors_of(clip), {}, folder)
        with pytest.raises(UsageError, match=message):
            export_official(folder, tmp_path / "y")
