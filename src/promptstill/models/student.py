"""Students: a backbone and a projector into the class-vector space.

URIs: ``nano-student`` or any CLIP URI (its image tower), ``prompted:<CLIP URI>`` (the same, frozen, with prompt tokens
that learn: PromptKD's), and ``timm:ARCH[.TAG]`` (with a tag the hub's weights, without one random weights).
``--student-weights FILE`` puts a local checkpoint into the backbone.
"""

import difflib
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from promptstill.engine import stream
from promptstill.errors import MissingError, UsageError
from promptstill.models.clip import Clip, image_tower, load_clip
from promptstill.models.prompts import PromptedVisual, fresh_tokens
from promptstill.models.towers import image_tower_size
from promptstill.ops.preprocess import Preprocess, normalize


@dataclass(frozen=True)
class PromptShape:
    """Prompt tokens of a ``prompted:`` student: how many, and in how many blocks (at most as many as there are)."""

    depth: int = 9
    length: int = 4


@dataclass(frozen=True)
class Head:
    """A linear head with one output a class in place of the projector; ``kind`` is a key of ``ops.targets.TARGETS``."""

    kind: str
    outputs: int


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a student again without its first weights; stands in the bundle's config."""

    uri: str
    kind: str  # clip | prompted | timm
    backbone: dict[str, Any]  # open_clip model_cfg, or timm's name and keyword arguments
    width: int  # of the backbone's output
    dim: int  # of the class vectors; the number of classes if it has a head
    preprocess: Preprocess
    weights: str  # where the backbone's first weights came from
    shares_space: bool = False  # the backbone embeds into the class vectors' space already
    prompts: tuple[int, int] | None = None  # depth and length of the prompt tokens; those of kind prompted have them
    head: str | None = None  # what its outputs are, if it has a head of its own and does not embed


class Student(nn.Module):
    """Images (B, 3, S, S) in [0, 1] -> unit embeddings (B, D) in the teacher's space; with a head, scores (B, K)."""

    def __init__(self, architecture: Architecture, backbone: nn.Module) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = backbone.to(memory_format=torch.channels_last)
        width, dim = architecture.width, architecture.dim
        self.projector = nn.Linear(width, dim) if architecture.head else make_projector(width, dim)
        if architecture.shares_space:
            *_, last = self.projector.children()
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    @property
    def tokens(self) -> nn.Parameter | None:
        """The prompt tokens, if it has any."""
        return self.backbone.tokens if isinstance(self.backbone, PromptedVisual) else None

    @property
    def tower(self) -> nn.Module:
        """The backbone without its prompt tokens."""
        return self.backbone.tower if isinstance(self.backbone, PromptedVisual) else self.backbone

    def features(self, images: Tensor) -> Tensor:
        """The backbone's own features (B, width)."""
        pixels = normalize(images, self.architecture.preprocess)
        return self.backbone(pixels.contiguous(memory_format=torch.channels_last))

    def embed(self, features: Tensor) -> Tensor:
        """Backbone features (B, width) -> unit embeddings (B, D).

        A backbone that shares the teacher's text tower is there already: its projector starts at zero and is added.
        A head gives scores (B, K) of its kind instead.
        """
        projected = self.projector(features)
        if self.architecture.head:
            return projected.float()
        if self.architecture.shares_space:
            projected = features + projected
        return F.normalize(projected.float(), dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        """Images to unit embeddings, or to a head's scores."""
        return self.embed(self.features(images))


def make_projector(width: int, dim: int) -> nn.Sequential:
    """Linear-BN-ReLU-Linear into the class-vector space (PromptKD's projector; sizes are inferred)."""
    return nn.Sequential(nn.Linear(width, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, dim))


def make_student(
    uri: str,
    teacher: Clip,
    size: int | None,
    weights: Path | None,
    seed: int,
    prompts: PromptShape | None = PromptShape(),
    head: Head | None = None,
    share: bool = True,
) -> Student:
    """A student ready to learn: its backbone with the weights that ``uri`` means, its projector random from ``seed``.

    The teacher gives the space, and its input to timm students without published weights; ``size`` overrides the side.
    ``prompts`` are for ``prompted:`` students; with None (the projector alone will learn) they get none. A backbone
    that embeds into the teacher's space already begins there, unless ``share`` is false or it gets a ``head``.

    Raises:
        UsageError: there is no such model, or its tower takes no prompts. MissingError: its weights are not here.
    """
    wanted = prompts if uri.startswith("prompted:") else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if uri.startswith("timm:"):
            architecture, backbone = _timm(uri, teacher.dim, teacher.preprocess, size)
        else:
            architecture, backbone = _clip(uri, teacher, size)
        architecture = replace(architecture, shares_space=architecture.shares_space and share and not head)
        if head:
            architecture = replace(architecture, head=head.kind, dim=head.outputs)
        if weights:
            _load_backbone(backbone, weights)
            architecture = replace(architecture, weights=f"file {weights.name}")
        if wanted:
            blocks, width = image_tower_size(backbone)
            tokens = fresh_tokens(min(wanted.depth, blocks), wanted.length, width, stream(seed, "prompts"))
            architecture = replace(architecture, kind="prompted", prompts=(len(tokens), wanted.length))
            backbone = PromptedVisual(backbone, tokens)
        return Student(architecture, backbone)


def rebuild(architecture: Architecture) -> Student:
    """The same modules with untrained weights, to be filled from a bundle."""
    if architecture.kind == "timm":
        return Student(architecture, timm.create_model(**architecture.backbone, pretrained=False))
    tower = image_tower(architecture.backbone)
    if architecture.prompts:
        depth, length = architecture.prompts
        tower = PromptedVisual(tower, torch.zeros(depth, length, image_tower_size(tower)[1]))
    return Student(architecture, tower)


def _clip(uri: str, teacher: Clip, size: int | None) -> tuple[Architecture, nn.Module]:
    clip = load_clip(uri.removeprefix("prompted:"))
    if size and size != clip.preprocess.size:
        raise UsageError(f"{uri} takes {clip.preprocess.size} px images; leave distill.image_size unset")
    clip.visual.requires_grad_(True)
    facts = (clip.config, clip.dim, teacher.dim, clip.preprocess, f"those of {clip.uri}", _same_texts(clip, teacher))
    return Architecture(uri, "clip", *facts), clip.visual


def _same_texts(first: Clip, second: Clip) -> bool:
    """Whether two models have the same text tower, and so embed pictures into the same space."""
    sides = [{k: v for k, v in clip.model.state_dict().items() if _of_text(k)} for clip in (first, second)]
    return sides[0].keys() == sides[1].keys() and all(
        torch.equal(v.cpu(), sides[1][k].cpu()) for k, v in sides[0].items()
    )


def _of_text(name: str) -> bool:
    return not name.startswith(("visual.", "logit_"))


def _timm(uri: str, dim: int, like: Preprocess, size: int | None) -> tuple[Architecture, nn.Module]:
    name = uri.removeprefix("timm:")
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        near = difflib.get_close_matches(arch, timm.list_models(), n=1)
        raise UsageError(f"unknown timm model {arch!r}" + (f" (did you mean timm:{near[0]}?)" if near else ""))
    try:
        config = timm.get_pretrained_cfg(name) if tag else None
    except RuntimeError:
        tags = ", ".join(model.partition(".")[2] for model in timm.list_pretrained(arch + ".*"))
        raise UsageError(f"timm has no weights {tag!r} for {arch}; choose one of {tags or 'none'}") from None
    pre = Preprocess(size or like.size, like.mean, like.std)
    if config:
        pre = Preprocess(size or config.input_size[-1], config.mean, config.std, config.interpolation)
    arguments: dict[str, Any] = {"model_name": name if tag else arch, "num_classes": 0}
    backbone = _create(uri, arguments, pre.size, pretrained=bool(tag))
    weights = f"hub weights {name}" if tag else "random"
    return Architecture(uri, "timm", arguments, _width(backbone), dim, pre, weights), backbone


def _width(backbone: Any) -> int:
    """Features that a timm backbone without classifier gives; some widen them behind the pooling (MobileNetV3)."""
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)


def _create(uri: str, arguments: dict[str, Any], size: int, *, pretrained: bool) -> Any:
    """Build a timm backbone; towers with position codes also need to know the image size."""
    try:
        try:
            backbone = timm.create_model(**arguments, img_size=size, pretrained=pretrained)
            arguments["img_size"] = size
        except TypeError:
            backbone = timm.create_model(**arguments, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        remedy = "use timm:ARCH without a tag, or --student-weights FILE"
        raise MissingError(f"cannot load {uri!r}: {reason}; {remedy}") from None
    return backbone


def _load_backbone(backbone: nn.Module, path: Path) -> None:
    """Fill a backbone from a safetensors file or a plain state dict; names must match, a classifier may be extra."""
    if not path.is_file():
        what = "are a folder" if path.is_dir() else "do not exist"
        raise MissingError(f"student weights {path} {what}; give a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        missing, _ = backbone.load_state_dict(state, strict=False)
    except pickle.UnpicklingError:  # torch would advise to run what is in it
        raise MissingError(f"{path} holds more than plain tensors; give a plain state dict of this model") from None
    except Exception as error:  # every reader fails in its own way on a foreign file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
        raise MissingError(f"cannot read {path} ({reason}); give a plain state dict of this very model") from None
    if missing:
        raise MissingError(
            f"{path} lacks {len(missing)} tensors of the student, first {missing[0]!r}; is it another model?"
        )
