"""Prompt tokens as they learn and as they are kept: a prompted image tower, a prompted CLIP, files of tokens alone.

What the tokens do inside a tower stands in :mod:`promptstill.models.towers`. They are chosen by object: a prompted
tower has one parameter that learns, and it is ``tokens``.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from promptstill.artifacts import write_atomic
from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.towers import (
    encode_images,
    encode_texts,
    first_word,
    image_tower_size,
    text_parts,
    text_tower_size,
)
from promptstill.ops.hashing import state_hash

SPREAD = 0.02  # standard deviation of fresh tokens
TOWERS = ("visual", "text")


class PromptedVisual(nn.Module):
    """A frozen image tower with prompt tokens: normalised images (B, 3, S, S) -> (B, D), not unit length.

    ``tokens`` is the one parameter that learns. The tower stays in evaluation mode whatever ``train()`` says.
    """

    def __init__(self, tower: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        check_tokens("visual", tokens, *image_tower_size(tower))
        self.tower = tower.eval().requires_grad_(False)
        self.tokens = nn.Parameter(tokens.detach().clone())

    def train(self, mode: bool = True) -> "PromptedVisual":
        """Switch the mode of this module, not of the frozen tower."""
        super().train(mode)
        self.tower.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Image features."""
        return encode_images(self.tower, pixels, self.tokens)


class PromptedClip(Clip):
    """A frozen CLIP with prompt tokens in its image tower, its text tower, or both; in all else used like one.

    Texts must leave room for the text tokens: ``template`` is the one they were learned in, see
    :func:`promptstill.data.templates.context_template`. ``hash`` covers the tokens as they are when it is first asked
    for.
    """

    def __init__(self, clip: Clip, prompts: Mapping[str, Tensor], template: str = "a photo of a {}.") -> None:
        if unknown := prompts.keys() - set(TOWERS):
            raise UsageError(f"prompts for {', '.join(sorted(unknown))} are unknown; give visual, text or both")
        self.prompts = nn.ParameterDict({name: nn.Parameter(tokens.clone()) for name, tokens in prompts.items()})
        self._visual = clip.visual
        if "visual" in prompts:
            self._visual = PromptedVisual(clip.visual, prompts["visual"])
            self.prompts["visual"] = self._visual.tokens
        if "text" in prompts:
            check_tokens("text", prompts["text"], *text_tower_size(clip.model))
            self.start = first_word(clip.tokenizer)
            self.template = template
        super().__init__(clip.uri, clip.model, clip.tokenizer, clip.config)
        self.to(clip.device)

    @property
    def visual(self) -> nn.Module:
        """The image tower, with its prompts."""
        return self._visual

    @cached_property
    def hash(self) -> str:
        """sha256 over names and values of all weights and prompts."""
        return state_hash(nn.ModuleList([self.model, self.prompts]))

    def to(self, device: torch.device | str) -> "PromptedClip":
        """Move weights and prompts."""
        super().to(device)
        self.prompts.to(device)
        return self

    def encode_ids(self, ids: Tensor, chunk: int | None = None) -> Tensor:
        """Token ids (N, L) -> text features (N, D), not unit length, differentiable in the text prompts.

        ``chunk`` texts at a time, with the memory of one chunk (see :func:`promptstill.models.towers.encode_texts`).
        """
        ids = ids.to(self.device)
        if "text" not in self.prompts:
            return encode_texts(self.model, ids, chunk=chunk)
        return encode_texts(self.model, ids, self.prompts["text"], self.start, chunk)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Texts -> unit features (N, D), with the text prompts in place of the words that they were learned for.

        A text that does not begin with those words has no room for the prompts: the frozen tower embeds it.

        Raises:
            DataError: a text is longer than the model's context.
        """
        rows = super().embed_texts(texts, batch_size)
        if self.template is None:
            return rows
        head = self.template.partition("{}")[0]
        fitting = [i for i, text in enumerate(texts) if text.startswith(head)]
        for at in range(0, len(fitting), batch_size):
            part = fitting[at : at + batch_size]
            features = self.encode_ids(self.tokenizer([texts[i] for i in part])).float()
            rows[part] = F.normalize(features, dim=-1)
        return rows


def fresh_tokens(depth: int, length: int, width: int, stream: torch.Generator) -> Tensor:
    """Tokens (depth, length, width) drawn from N(0, 0.02^2)."""
    return SPREAD * torch.randn(depth, length, width, generator=stream)


def fresh_text_tokens(
    model: nn.Module, words: Tensor | None, depth: int, length: int, stream: torch.Generator, start: int = 1
) -> Tensor:
    """Fresh tokens for a text tower; those of block 0 begin as the words that they replace, if there are any.

    ``words`` (L,) are the ids of a text of :func:`promptstill.data.templates.context_template`.
    """
    _, width = text_tower_size(model)
    tokens = fresh_tokens(depth, length, width, stream)
    if words is not None:
        embedding = text_parts(model).embedding
        tokens[0] = embedding(words[start : start + length].to(embedding.weight.device)).detach().cpu()
    return tokens


def check_tokens(which: str, tokens: Tensor, blocks: int, width: int) -> None:
    """Refuse tokens that do not fit a tower of ``blocks`` blocks, ``width`` wide.

    Raises:
        UsageError: they do not.
    """
    if tokens.dim() != 3 or not 0 < len(tokens) <= blocks or tokens.shape[2] != width:
        shape = tuple(tokens.shape)
        fits = f"its tokens are (depth, length, width) with depth 1 to {blocks} and width {width}"
        raise UsageError(f"{which} prompts {shape} do not fit this {which} tower; {fits}")


def save_prompts(path: Path, prompts: Mapping[str, Tensor], base: str) -> None:
    """Write the tokens of ``visual`` and ``text`` alone, with the hash of the weights they were learned on."""
    tensors = {name: tokens.detach().float().cpu().contiguous() for name, tokens in prompts.items()}
    write_atomic(path, save(tensors, metadata={"base": base}))


def load_prompts(path: Path, base: str | None = None) -> dict[str, Tensor]:
    """Read tokens written by :func:`save_prompts`; given ``base``, only those that were learned on these weights.

    Raises:
        DataError: the file is no prompts file, or belongs to other weights.
    """
    try:
        with safe_open(path, "pt") as file:
            there = (file.metadata() or {}).get("base")
            prompts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read prompts {path} ({str(error).splitlines()[0]}); give a prompts file") from None
    if not prompts or not prompts.keys() <= set(TOWERS):
        raise DataError(f"{path} holds {', '.join(prompts) or 'nothing'}, not visual and text; give a prompts file")
    if base and there != base:
        raise DataError(f"{path} was learned on weights {str(there)[:12]}..., here are {base[:12]}...; use that model")
    return prompts
