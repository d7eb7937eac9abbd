"""Official PromptSRC and PromptKD files: read without running anything in them, and written in their layout."""

import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from golden_models import FOLDER, error, golden, reference_clip
from golden_prompts import CLASSES, STUDENT, TEACHER, reference_projector, reference_prompts, tokens
from promptstill.data.templates import context_template
from promptstill.errors import DataError, MissingError, UsageError
from promptstill.models.official import (
    FIRST,
    IGNORED,
    check_base,
    read_student,
    read_teacher,
    write_student,
    write_teacher,
)
from promptstill.models.pickles import read_pickle
from promptstill.models.prompts import PromptedClip
from promptstill.models.student import make_projector
from promptstill.ops.templates import fill_all

TEACHER_FILE, STUDENT_FILE = (FOLDER / "official" / who / "model-best.pth.tar" for who in ("teacher", "student"))
LAYOUT = json.loads((FOLDER / "official" / "layout.json").read_text())


def state_of(path: Path) -> dict[str, Tensor]:
    return dict(read_pickle(path, IGNORED)["state_dict"])


def saved(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({"state_dict": OrderedDict(state), "epoch": 1, "val_result": None}, path)
    return path


def test_a_teacher_comes_in_exactly() -> None:
    official = read_teacher(TEACHER_FILE)
    for which, wanted in reference_prompts("prompt.").items():
        assert torch.equal(official.prompts[which], wanted)
    clip = reference_clip("teacher")
    check_base(official, clip.model, clip.uri)
    assert (official.epoch, official.score, official.projector) == (20, None, {})
    assert official.scale == pytest.approx(clip.scale)
    own = {name for name in clip.model.state_dict() if name not in ("token_embedding.weight", "logit_scale")}
    assert official.frozen.keys() == own


def test_a_teacher_that_came_in_gives_the_references_numbers() -> None:
    wanted = golden(TEACHER)
    teacher = PromptedClip(reference_clip("teacher"), read_teacher(TEACHER_FILE).prompts)
    with torch.no_grad():
        assert error(teacher.visual(wanted["in.images"]), wanted["out.image_features_raw"]) < 1e-5
    texts = fill_all([context_template(4)], CLASSES)
    assert error(teacher.embed_texts(texts), wanted["out.text_features"]) < 1e-5


def test_a_student_comes_in_exactly() -> None:
    official = read_student(STUDENT_FILE)
    assert torch.equal(official.prompts["visual"], tokens(golden(STUDENT), "visual", "student."))
    for name, wanted in reference_projector().state_dict().items():
        assert torch.equal(official.projector[name], wanted), name
    make_projector(32, 48).load_state_dict(official.projector)
    clip = reference_clip("student")
    check_base(official, clip.model, clip.uri)
    assert (official.epoch, official.score) == (12, 83.25)
    assert official.scale == pytest.approx(clip.scale)


def test_files_go_out_in_the_official_layout(tmp_path: Path) -> None:
    teacher, student = reference_clip("teacher"), reference_clip("student")
    ids = teacher.tokenizer(fill_all([context_template(4)], CLASSES[:3]))
    write_teacher(tmp_path / "teacher", teacher.model, reference_prompts("prompt."), ids, epoch=20)
    visual = tokens(golden(STUDENT), "visual", "student.")
    write_student(tmp_path / "student", student.model, visual, reference_projector(), epoch=12, score=83.25)
    for who, file in (("teacher", TEACHER_FILE), ("student", STUDENT_FILE)):
        container = torch.load(tmp_path / who, weights_only=True)
        assert container.keys() == LAYOUT[who]["container"].keys()
        assert (container["epoch"], container["val_result"]) == (LAYOUT[who]["epoch"], LAYOUT[who]["val_result"])
        ours, theirs = container["state_dict"], state_of(file)
        layout = {name: (tuple(shape), dtype) for name, shape, dtype in LAYOUT[who]["state_dict"]}
        assert {n: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in ours.items()} == layout
        assert all(torch.equal(ours[name], theirs[name]) for name in layout)


def test_out_and_in_again_is_the_same(tmp_path: Path) -> None:
    clip, prompts = reference_clip("teacher"), reference_prompts("prompt.")
    write_teacher(tmp_path / "file", clip.model, prompts, clip.tokenizer(["a photo of a river."]), epoch=3)
    back = read_teacher(tmp_path / "file")
    assert back.epoch == 3
    assert all(torch.equal(back.prompts[which], prompts[which]) for which in prompts)


def test_depth_and_length_are_read_from_the_file(tmp_path: Path) -> None:
    state = state_of(TEACHER_FILE)
    del (
        state["text_encoder.transformer.resblocks.1.VPT_shallow"],
        state["text_encoder.transformer.resblocks.2.VPT_shallow"],
    )
    state |= {name: tensor[:2] for name, tensor in state.items() if name.startswith("image_encoder") and "VPT" in name}
    official = read_teacher(saved(state, tmp_path / "file"))
    assert {which: tuple(t.shape) for which, t in official.prompts.items()} == {
        "visual": (3, 2, 32),
        "text": (1, 4, 32),
    }


@pytest.mark.parametrize(
    "name",
    [
        "prompt_learner.ctx",
        "image_encoder.VPT",
        "image_encoder.transformer.resblocks.1.VPT_shallow",
        "text_encoder.transformer.resblocks.1.VPT_shallow",
    ],
)
def test_a_missing_prompt_is_named(name: str, tmp_path: Path) -> None:
    state = state_of(TEACHER_FILE)
    del state[name]
    with pytest.raises(DataError, match=rf"lacks the \w+ prompts {name};"):
        read_teacher(saved(state, tmp_path / "file"))


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    name = "image_encoder.transformer.resblocks.2.VPT_shallow"
    with pytest.raises(DataError, match=rf"{name} has shape \(4, 31\), not \(4, 32\)"):
        read_teacher(saved(state_of(TEACHER_FILE) | {name: torch.zeros(4, 31)}, tmp_path / "file"))
    name = "VPT_image_trans.conv1.3.weight"
    with pytest.raises(DataError, match=rf"{name} has shape \(48, 32, 1, 1\), not \(48, 48, 1, 1\)"):
        read_student(saved(state_of(STUDENT_FILE) | {name: torch.zeros(48, 32, 1, 1)}, tmp_path / "file"))


def test_a_teacher_is_no_student() -> None:
    with pytest.raises(DataError, match=r"VPT_image_trans\.conv1\.0\.weight is missing"):
        read_student(TEACHER_FILE)


def test_prompts_of_a_larger_tower_are_refused_by_a_smaller_one(clip: Any) -> None:
    with pytest.raises(UsageError, match=r"visual prompts \(3, 4, 32\) do not fit .* depth 1 to 2 and width 32"):
        PromptedClip(clip, read_teacher(TEACHER_FILE).prompts)


def test_other_frozen_weights_are_refused() -> None:
    official, other = read_student(STUDENT_FILE), reference_clip("student")
    with torch.no_grad():
        other.model.get_parameter("visual.conv1.weight")[0, 0, 0, 0] += 1
    with pytest.raises(DataError, match=r"visual\.conv1\.weight differs"):
        check_base(official, other.model, other.uri)
    with pytest.raises(
        DataError, match=r"positional_embedding is \(10, 32\) in the file, \(17, 32\) in golden teacher"
    ):
        check_base(official, reference_clip("teacher").model, "golden teacher")


def test_only_openais_layout_goes_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="laid out as OpenAI's"):
        write_student(tmp_path / "file", nn.Linear(2, 2), torch.zeros(1, 1, 2), reference_projector(), epoch=1)


# ---------------------------------------------------------------------------------------------------- hostile files


class Bomb:
    """Runs a command when a plain pickle loads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)  # pyright: ignore[reportDeprecated]


@pytest.mark.parametrize("where", ["container", "state", "scheduler", "deep"])
def test_a_hostile_file_is_refused_by_name_and_runs_nothing(where: str, tmp_path: Path) -> None:
    bomb, state = Bomb(f"touch {tmp_path / 'ran'}"), dict(state_of(STUDENT_FILE))
    content: dict[str, Any] = {"state_dict": OrderedDict(state), "epoch": 1}
    match where:
        case "container":
            content["optimizer"] = bomb
        case "state":
            content["state_dict"]["image_encoder.VPT"] = bomb
        case "scheduler":
            content["scheduler"] = {"successor": bomb}
        case _:
            content["scheduler"] = [{"a": ({"b": [bomb]},)}]
    torch.save(content, tmp_path / "file")
    with pytest.raises(DataError, match=r"names (posix|nt)\.system, .* it was not read"):
        read_student(tmp_path / "file")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "torch.load", "torch.hub.load", "torch._utils._rebuild_tensor"]
)
def test_any_name_that_is_on_no_list_is_refused(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    pickled = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"."
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    with pytest.raises(DataError, match=f"names {name},"):
        read_pickle(tmp_path / "file", IGNORED)


def test_an_ignored_object_is_an_empty_shell() -> None:
    container = read_pickle(TEACHER_FILE, IGNORED)
    successor = container["scheduler"]["successor"]
    assert type(successor).__name__ == "Shell"
    assert not vars(successor)
    with pytest.raises(DataError, match=r"names torch\.optim\.lr_scheduler\.CosineAnnealingLR"):
        read_pickle(TEACHER_FILE)


def test_tensors_come_out_as_torch_reads_them(tmp_path: Path) -> None:
    whole = torch.arange(24.0).view(4, 6)
    content = {
        "view": whole[1:3, ::2],
        "turned": whole.T,
        "half": whole.half(),
        "empty": torch.zeros(0, 3),
        "same": whole,
    }
    content |= {
        "scalar": torch.tensor(7),
        "parameter": nn.Parameter(whole.clone()),
        "flag": torch.tensor([True, False]),
    }
    torch.save(content, tmp_path / "file")
    found = read_pickle(tmp_path / "file")
    for name, wanted in torch.load(tmp_path / "file", weights_only=True).items():
        assert found[name].dtype == wanted.dtype
        assert torch.equal(found[name], wanted.detach()), name


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(MissingError, match="does not exist"):
        read_teacher(file)
    file.write_bytes(b"hello")
    with pytest.raises(DataError, match=r"no checkpoint of torch 1\.6"):
        read_teacher(file)
    torch.save([1, 2], file)
    with pytest.raises(DataError, match="holds a list"):
        read_teacher(file)
    torch.save({"model": 1}, file)
    with pytest.raises(DataError, match="no state_dict of tensors"):
        read_teacher(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}." + b"x" * 1000)
    with pytest.raises(DataError, match="is compressed"):
        read_teacher(file)
    file.write_bytes(TEACHER_FILE.read_bytes()[:-2000])
    with pytest.raises(DataError, match="checkpoint"):
        read_teacher(file)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {FIRST["visual"]: torch.zeros(1, 1).expand(10**6, 10**6)}}, tmp_path / "file")
    with pytest.raises(DataError, match="wants more than the 1 numbers"):
        read_student(tmp_path / "file")
