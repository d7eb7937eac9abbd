"""CLIP and its kin through open_clip: one frozen object that embeds texts and images.

URIs: ``nano`` and ``nano-student`` (embedded), ``openclip:MODEL/TAG``, ``dir:PATH`` (an open_clip local directory),
``hf:ORG/REPO[@REV]``. All go through the same open_clip factory.
"""

import difflib
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from promptstill.errors import DataError, MissingError, UsageError
from promptstill.ops.hashing import state_hash
from promptstill.ops.preprocess import Preprocess, normalize

EMBEDDED = ("nano", "nano-student")
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")


class Clip:
    """A frozen vision-language model. Not an ``nn.Module`` on purpose: no ``train()`` of a student can reach it.

    ``template`` is the one text that a model with learned text prompts takes class names in, in place of all others.
    """

    template: str | None = None

    def __init__(self, uri: str, model: nn.Module, tokenizer: Any, config: dict[str, Any]) -> None:
        self.uri, self.model, self.tokenizer, self.config = uri, model.eval().requires_grad_(False), tokenizer, config
        self.visual.to(memory_format=torch.channels_last)  # convolutional towers run twice as fast on a CPU
        content = open_clip.get_model_preprocess_cfg(model)
        sides = {content["size"]} if isinstance(content["size"], int) else set(content["size"])
        if len(sides) > 1:
            raise UsageError(f"{uri} preprocesses to {content['size']} pixels; only square inputs can be used")
        self.preprocess = Preprocess(
            size=int(sides.pop()),
            mean=tuple(content["mean"]),
            std=tuple(content["std"]),
            interpolation=content.get("interpolation") or "bicubic",
            resize_mode=content.get("resize_mode") or "shortest",
        )

    @property
    def visual(self) -> nn.Module:
        """The image tower: normalised images (B, 3, S, S) -> (B, D), not unit length."""
        visual = self.model.visual
        assert isinstance(visual, nn.Module)
        return visual

    @cached_property
    def scale(self) -> float:
        """exp(logit_scale): what cosines are multiplied with."""
        return float(self.model.get_parameter("logit_scale").exp())

    @cached_property
    def dim(self) -> int:
        """Width D of the joint space."""
        return int(self.config["embed_dim"])

    @cached_property
    def hash(self) -> str:
        """sha256 over names and values of all weights."""
        return state_hash(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.get_parameter("logit_scale").device

    def to(self, device: torch.device | str) -> "Clip":
        """Move the weights."""
        self.model.to(device)
        return self

    def embed_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] -> unit features (B, D); differentiable in the images."""
        pixels = normalize(images.to(self.device), self.preprocess).contiguous(memory_format=torch.channels_last)
        return F.normalize(self.visual(pixels).float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Texts -> unit features (N, D).

        Raises:
            DataError: a text is longer than the model's context.
        """
        self.refuse_long(texts)
        encode: Any = self.model.encode_text
        rows = []
        for start in range(0, len(texts), batch_size):
            tokens = self.tokenizer(list(texts[start : start + batch_size])).to(self.device)
            rows.append(encode(tokens, normalize=True).float())
        return torch.cat(rows)

    def refuse_long(self, texts: Sequence[str]) -> None:
        """Raise :class:`DataError` for the first text that is longer than the model's context."""
        limit = getattr(self.tokenizer, "context_length", None)
        if not limit or not texts:
            return
        last = self.tokenizer([*texts, ""], context_length=limit + 1)[:, limit]  # one place more: is it padding?
        for text, token in zip(texts, last[:-1].tolist(), strict=True):
            if token != int(last[-1]):
                raise DataError(f"{text!r} is over {limit} tokens, all that {self.uri} reads; shorten it")


def load_clip(uri: str) -> Clip:
    """Load a model by URI, in fp32, frozen.

    Raises:
        UsageError: the URI names nothing known. MissingError: the weights are not here and cannot be fetched.
    """
    source = _resolve(uri)
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            model = open_clip.create_model(source.name, pretrained=source.tag, force_quick_gelu=source.quick_gelu)
            tokenizer = open_clip.get_tokenizer(source.name)
    except Exception as error:  # open_clip, torch and safetensors each fail in their own ways on foreign files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise MissingError(f"cannot load {uri!r}: {reason}; check the name, the files or the network") from None
    config = _config(source)
    return Clip(
        uri, model.float(), tokenizer, config | {"quick_gelu": source.quick_gelu or config.get("quick_gelu", False)}
    )


@dataclass(frozen=True)
class _Source:
    """What open_clip's factory is asked for."""

    name: str
    tag: str | None = None
    folder: Path | None = None
    quick_gelu: bool = False


def _resolve(uri: str) -> _Source:
    kind, _, rest = uri.partition(":")
    if uri in EMBEDDED:
        return _local(Path(str(files("promptstill.assets") / uri)), uri)
    if kind == "dir" and rest:
        return _local(Path(rest), uri)
    if kind == "openclip" and rest:
        return _published(rest)
    if kind == "hf" and rest:
        return _from_hub(rest, uri)
    near = difflib.get_close_matches(uri, EMBEDDED, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(f"unknown model {uri!r}{hint}; use nano, openclip:MODEL/TAG, dir:PATH or hf:ORG/REPO[@REV]")


def _local(folder: Path, uri: str) -> _Source:
    if not (folder / "open_clip_config.json").is_file():
        raise MissingError(f"{uri!r} is no open_clip directory: {folder} has no open_clip_config.json")
    if not any((folder / name).is_file() for name in WEIGHT_FILES):
        raise MissingError(f"{uri!r} has no weights: put open_clip_model.safetensors into {folder}")
    return _Source(f"local-dir:{folder}", folder=folder)


def _published(rest: str) -> _Source:
    name, _, tag = rest.partition("/")
    known = open_clip.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(f"unknown open_clip model {name!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise UsageError(f"open_clip has no weights {tag!r} for {name}; choose one of {', '.join(tags) or 'none'}")
    # OpenAI's weights want QuickGELU; under the plain model name open_clip would lose accuracy in silence
    return _Source(name, tag, quick_gelu=bool((open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu")))


def _from_hub(rest: str, uri: str) -> _Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo, _, revision = rest.partition("@")
    try:
        folder = snapshot_download(repo, revision=revision or None, allow_patterns=["*.json", "*.txt", "*.safetensors"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise MissingError(f"cannot fetch {uri!r}: {reason}; check the name and the network, or use dir:PATH") from None
    return _local(Path(folder), uri)


def _config(source: _Source) -> dict[str, Any]:
    """The ``model_cfg`` of open_clip: embed_dim, vision_cfg, text_cfg."""
    if source.folder:
        return json.loads((source.folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    return dict(open_clip.get_model_config(source.name) or {})


class _quiet:  # noqa: N801  (used as a context manager)
    """open_clip logs to the root logger while it loads; its warnings are ours to give."""

    def __enter__(self) -> None:
        self.level = logging.getLogger().level
        logging.disable(logging.WARNING)

    def __exit__(self, *exc: object) -> None:
        logging.disable(logging.NOTSET)


def image_tower(config: dict[str, Any]) -> nn.Module:
    """An image tower with random weights from an open_clip ``model_cfg``; the text side is thrown away."""
    text = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
    vision = dict(config["vision_cfg"])
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    model = open_clip.CLIP(config["embed_dim"], vision, text, quick_gelu=bool(config.get("quick_gelu")))  # pyright: ignore
    return model.visual
