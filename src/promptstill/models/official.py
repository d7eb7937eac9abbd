"""The files of the public PromptSRC and PromptKD code (Dassl's container), in and out.

A file is a pickled dictionary with ``state_dict``, ``epoch``, ``optimizer``, ``scheduler`` and ``val_result``. Of the
state only the prompts and the projector were learned; beside them it holds the frozen towers, the teacher's even twice.
How many blocks have prompts, and how many tokens, is read from the names and shapes.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from promptstill.artifacts import write_atomic
from promptstill.errors import DataError, UsageError
from promptstill.models.pickles import read_pickle

# What Dassl's scheduler and optimizer leave in a file, and a score that was a numpy number; none of it is needed.
IGNORED = (
    "torch.optim.lr_scheduler.CosineAnnealingLR",
    "torch.optim.lr_scheduler.StepLR",
    "torch.optim.lr_scheduler.MultiStepLR",
    "torch.optim.sgd.SGD",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)
FIRST = {"visual": "image_encoder.VPT", "text": "prompt_learner.ctx"}
DEEP = {
    "visual": "image_encoder.transformer.resblocks.{}.VPT_shallow",
    "text": "text_encoder.transformer.resblocks.{}.VPT_shallow",
}
SECOND_COPY = "prompt_learner.ZS_image_encoder."  # the image tower once more
FROZEN = {"image_encoder.": "visual.", "text_encoder.": ""}  # prefixes there -> in an open_clip model
PROJECTOR = "VPT_image_trans.conv1."  # 1x1 convolutions; ours is make_projector's Linear-BN-ReLU-Linear
FLOAT32 = re.compile(r"(.*\.)?(ln_\w+\.(weight|bias)|class_embedding|positional_embedding)|logit_scale")
ROUNDING = 0.01  # of a tensor's largest value: frozen weights went through float16, and through an average there


@dataclass(frozen=True)
class Official:
    """What was learned, and the frozen weights (named as in an open_clip model) that it was learned on."""

    prompts: dict[str, Tensor]  # visual, text: (depth, length, width)
    frozen: dict[str, Tensor]
    scale: float  # exp(logit_scale)
    epoch: int | None
    score: float | None  # of the epoch that was kept; PromptKD's is an accuracy on test data
    projector: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # state of our projector; a student's only


# --------------------------------------------------------------------------------------------------------------- in


def read_official(path: Path) -> Official:
    """Read a file of either kind; a student's has a ``projector``.

    Raises:
        MissingError, DataError: as :func:`read_teacher`.
    """
    state, container = _read(path)
    is_student = any(name.startswith(PROJECTOR) for name in state)
    return _student(state, container, path) if is_student else _teacher(state, container, path)


def read_teacher(path: Path) -> Official:
    """Read a PromptSRC teacher (``VLPromptLearner/model-best.pth.tar``, ``model.pth.tar-20``).

    Raises:
        MissingError: there is no such file. DataError: it is no teacher, a prompt is missing or has another shape, or
            the file names something that no such file needs.
    """
    return _teacher(*_read(path), path)


def read_student(path: Path) -> Official:
    """Read a PromptKD student. It has no text side and no class vectors: they come from its teacher.

    Raises:
        MissingError, DataError: as :func:`read_teacher`.
    """
    return _student(*_read(path), path)


def check_base(official: Official, model: nn.Module, uri: str) -> None:
    """Refuse a file whose frozen weights are not those of ``model``: prompts are worth nothing on other weights.

    Raises:
        DataError: a frozen tensor differs, and which.
    """
    ours, theirs = model.state_dict(), official.frozen
    for name, value in theirs.items():
        if name not in ours or ours[name].shape != value.shape:
            here = tuple(ours[name].shape) if name in ours else "absent"
            raise DataError(f"{name} is {tuple(value.shape)} in the file, {here} in {uri}; use the file's own model")
    for name, value in theirs.items():
        if float((ours[name].cpu() - value).abs().max()) > ROUNDING * max(1e-3, float(value.abs().max())):
            raise DataError(f"the file was learned on other weights than {uri} ({name} differs); use its own model")


def _teacher(state: Mapping[str, Tensor], container: Mapping[str, Any], path: Path) -> Official:
    prompts = {which: _stacked(state, which, path) for which in ("visual", "text")}
    return _official(state, container, prompts, {})


def _student(state: Mapping[str, Tensor], container: Mapping[str, Any], path: Path) -> Official:
    prompts = {"visual": _stacked(state, "visual", path)}
    return _official(state, container, prompts, _read_projector(state, path))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    container = read_pickle(path, IGNORED)
    state = container.get("state_dict")
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} has no state_dict of tensors; give a file of PromptSRC or PromptKD")
    needed = {name: value for name, value in state.items() if SECOND_COPY not in name}
    return {
        name.removeprefix("module."): v.float() if v.is_floating_point() else v for name, v in needed.items()
    }, container


def _stacked(state: Mapping[str, Tensor], which: str, path: Path) -> Tensor:
    """The prompts of one tower as (depth, length, width); a gap or another shape is named."""
    pattern = re.compile(re.escape(DEEP[which]).replace(r"\{\}", r"(\d+)"))
    depth = 1 + max((int(found[1]) for name in state if (found := pattern.fullmatch(name))), default=0)
    names = [FIRST[which], *(DEEP[which].format(block) for block in range(1, depth))]
    missing = [name for name in names if name not in state]
    if missing:
        raise DataError(f"{path} lacks the {which} prompts {', '.join(missing)}; get a complete file")
    shape = state[names[0]].shape
    for name in names:
        if state[name].dim() != 2 or state[name].shape != shape:
            found = tuple(state[name].shape)
            raise DataError(f"{path}: {name} has shape {found}, not {tuple(shape)} as {names[0]}; get a sound file")
    return torch.stack([state[name] for name in names])


def _read_projector(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The official 1x1 convolutions as the state of our projector; a missing tensor or an odd shape is named."""
    found: dict[str, Tensor] = {}
    sizes = state.get(f"{PROJECTOR}0.weight", torch.empty(0, 0)).shape[:2]
    for name, shape in _projector_shapes(*sizes).items():
        there = state.get(PROJECTOR + name)
        if there is None or tuple(there.shape) != shape:
            what = "is missing" if there is None else f"has shape {tuple(there.shape)}, not {shape}"
            raise DataError(f"{path}: {PROJECTOR}{name} {what}; give a PromptKD student with its two-layer projector")
        found[name] = there.flatten(1) if there.dim() == 4 else there
    return found


def _projector_shapes(dim: int, width: int) -> dict[str, tuple[int, ...]]:
    norm = dict.fromkeys(("1.weight", "1.bias", "1.running_mean", "1.running_var"), (dim,))
    first: dict[str, tuple[int, ...]] = {"0.weight": (dim, width, 1, 1), "0.bias": (dim,)}
    return first | norm | {"1.num_batches_tracked": (), "3.weight": (dim, dim, 1, 1), "3.bias": (dim,)}


def _official(
    state: Mapping[str, Tensor], container: Mapping[str, Any], prompts: dict[str, Tensor], projector: dict[str, Tensor]
) -> Official:
    epoch, score = container.get("epoch"), container.get("val_result")
    frozen = {
        ours + name.removeprefix(theirs): value
        for theirs, ours in FROZEN.items()
        for name, value in state.items()
        if name.startswith(theirs) and "VPT" not in name
    }
    return Official(
        prompts=prompts,
        frozen=frozen,
        scale=float(state["logit_scale"].exp()) if "logit_scale" in state else 100.0,
        epoch=epoch if isinstance(epoch, int) else None,
        score=float(score) if isinstance(score, int | float) else None,
        projector=projector,
    )


# -------------------------------------------------------------------------------------------------------------- out


def write_teacher(path: Path, model: nn.Module, prompts: Mapping[str, Tensor], ids: Tensor, epoch: int) -> None:
    """Write a teacher that the public PromptKD code loads: prompts of both towers over the weights of ``model``.

    ``ids`` (K, L) are the token ids of the classes' texts with the prompts' place holders; the file keeps the
    embeddings around the prompts.

    Raises:
        UsageError: the model is not laid out as OpenAI's CLIP, or prompts of a tower are missing.
    """
    own = _openai_state(model)
    if set(prompts) != {"visual", "text"}:
        raise UsageError("an official teacher has visual and text prompts; give both")
    length = prompts["text"].shape[1]
    with torch.no_grad():
        embedded = model.get_submodule("token_embedding")(ids)
    tower = {name.removeprefix("visual."): tensor for name, tensor in own.items() if name.startswith("visual.")}
    text = {
        name: tensor for name, tensor in own.items() if not name.startswith(("visual.", "token_embedding.", "logit_"))
    }
    state = {"logit_scale": own["logit_scale"], FIRST["text"]: prompts["text"][0].half()}
    state |= {"prompt_learner.token_prefix": embedded[:, :1].half()}
    state |= {"prompt_learner.token_suffix": embedded[:, 1 + length :].half()}
    state |= {SECOND_COPY + name: tensor for name, tensor in tower.items()}
    state |= _named(prompts, "visual") | {f"image_encoder.{name}": tensor for name, tensor in tower.items()}
    state |= _deep(prompts, "text") | {f"text_encoder.{name}": tensor for name, tensor in text.items()}
    _write(path, state, epoch, None)


def write_student(
    path: Path, model: nn.Module, tokens: Tensor, projector: nn.Module, epoch: int, score: float | None = None
) -> None:
    """Write a student that the public PromptKD code loads: ``tokens`` over the image tower of ``model``, ``projector``.

    Raises:
        UsageError: the model is not laid out as OpenAI's CLIP.
    """
    own = _openai_state(model)
    state = {"logit_scale": own["logit_scale"]} | _named({"visual": tokens}, "visual")
    for name, tensor in own.items():
        if name.startswith("visual."):
            state[f"image_encoder.{name.removeprefix('visual.')}"] = tensor
    for name, tensor in projector.state_dict().items():
        half = name.startswith(("0.", "3."))
        shaped = tensor[:, :, None, None] if tensor.dim() == 2 else tensor
        state[PROJECTOR + name] = shaped.half() if half else shaped
    _write(path, state, epoch, score)


def _named(prompts: Mapping[str, Tensor], which: str) -> dict[str, Tensor]:
    return {FIRST[which]: prompts[which][0].float()} | _deep(prompts, which)


def _deep(prompts: Mapping[str, Tensor], which: str) -> dict[str, Tensor]:
    return {DEEP[which].format(block): prompts[which][block].float() for block in range(1, len(prompts[which]))}


def _openai_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a CLIP in OpenAI's layout and precision: matrices in float16, norms and positions in float32."""
    if not isinstance(model, open_clip.CLIP) or not isinstance(model.visual, VisionTransformer):
        raise UsageError(
            "the official files hold CLIPs laid out as OpenAI's; this model is another, so keep our format"
        )
    return {n: t.float() if FLOAT32.fullmatch(n) else t.half() for n, t in model.state_dict().items()}


def _write(path: Path, state: Mapping[str, Tensor], epoch: int, score: float | None) -> None:
    whole = OrderedDict((name, tensor.detach().cpu().contiguous()) for name, tensor in state.items())
    content = {"state_dict": whole, "epoch": epoch, "optimizer": None, "scheduler": None, "val_result": score}
    write_atomic(path, lambda part: torch.save(content, part))
