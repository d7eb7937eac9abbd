"""Transformer towers with prompt tokens in their sequences: our own way through open_clip's and timm's parts.

The prompt tokens of one tower are one tensor (depth, length, width): the rows that enter at block 0, 1, ... of the
tower. Block 0 gets them beside its input; at each later block they replace what the earlier ones have become, and
after the last of them the tokens flow through (IVLP, the architecture of PromptSRC and PromptKD).

Image towers: the tokens stand at the end of the sequence, without position, and are cut off after the last block. So
the tower's own read-out (class token, average, attention pooling) sees exactly the tokens that it was trained on.
Text towers: they stand in place of the words after the start token, keep those places' positions and the causal mask;
the read-out is where it was.

The towers are run part by part, nothing in them is changed or replaced.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import open_clip
import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer, text_global_pool
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from promptstill.errors import UsageError

# ---------------------------------------------------------------------------------------------------- image towers


def encode_images(tower: nn.Module, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Normalised images (B, 3, S, S) and tokens (depth, length, width) -> features (B, D), not unit length.

    Raises:
        UsageError: the tower has no sequence of tokens.
    """
    return _image_runner(tower)(tower, pixels, tokens)


def image_tower_size(tower: nn.Module) -> tuple[int, int]:
    """How many blocks an image tower has, and how wide its tokens are."""
    _image_runner(tower)
    if isinstance(tower, VisionTransformer):
        return len(tower.transformer.resblocks), tower.conv1.out_channels
    trunk = _trunk(tower)
    return len(trunk.blocks), int(trunk.embed_dim)


def _image_runner(tower: nn.Module) -> Callable[[Any, Tensor, Tensor], Tensor]:
    if isinstance(tower, VisionTransformer):
        return _run_open_clip
    trunk = _trunk(tower)
    # a class of its own forward may do more than its parent's parts, which are what is run here
    if isinstance(trunk, TimmViT) and type(trunk).forward_features is TimmViT.forward_features:
        return _run_timm
    if isinstance(trunk, Eva) and type(trunk).forward_features is Eva.forward_features:
        return _run_eva
    remedy = "train the projector alone (distill.train=projector), or learn text prompts alone"
    raise UsageError(f"the image tower {type(trunk).__name__} is no plain transformer and takes no prompts; {remedy}")


def _trunk(tower: nn.Module) -> Any:
    return tower.trunk if isinstance(tower, TimmModel) else tower


def _head(tower: nn.Module, features: Tensor) -> Tensor:
    return tower.head(features) if isinstance(tower, TimmModel) else features


def _run_open_clip(tower: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    """open_clip's own vision transformer; fresh tokens go through ``ln_pre`` like the others."""
    x = tower.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(x.shape[0], 1, -1), x], dim=1) + tower.positional_embedding
    x = tower.patch_dropout(x)
    count = x.shape[1]
    x = tower.ln_pre(_put(x, tokens, 0, count))
    x = _through(_open_clip_blocks(tower.transformer), x, tokens, count)
    pooled = tower._pool(x[:, :count])[0]
    return pooled if tower.proj is None else pooled @ tower.proj


def _run_timm(tower: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    """timm's vision transformer, alone or inside open_clip (SigLIP, MobileCLIP-B, ViTamin)."""
    trunk = _trunk(tower)
    x = trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pixels)))
    count = x.shape[1]
    x = trunk.norm_pre(_put(x, tokens, 0, count))
    x = _through(trunk.blocks, x, tokens, count)
    return _head(tower, trunk.forward_head(trunk.norm(x[:, :count])))


def _run_eva(tower: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    """timm's EVA and Perception Encoder; where positions are rotations, prompt tokens are not rotated."""
    trunk = _trunk(tower)
    x, rope = trunk._pos_embed(trunk.patch_embed(pixels))
    count = x.shape[1]
    x = trunk.norm_pre(_put(x, tokens, 0, count))
    turns: Iterable[Any] = repeat(rope)
    if rope is not None:
        rope = _no_turn(rope, tokens.shape[1])
        turns = rope if getattr(trunk, "rope_mixed", False) else repeat(rope)  # mixed: one for each block
    blocks = [partial(block, rope=turn) for block, turn in zip(trunk.blocks, turns, strict=False)]
    x = _through(blocks, x, tokens, count)
    return _head(tower, trunk.forward_head(trunk.norm(x[:, :count])))


def _no_turn(rope: Tensor, length: int) -> Tensor:
    """Rows (..., N, [sin, cos]) -> (..., N + length, ...), the new ones with sin 0 and cos 1."""
    sin, cos = rope.new_zeros(()), rope.new_ones(())
    half = rope.shape[-1] // 2
    shape = (*rope.shape[:-2], length, half)
    return torch.cat([rope, torch.cat([sin.expand(shape), cos.expand(shape)], dim=-1)], dim=-2)


# ----------------------------------------------------------------------------------------------------- text towers


@dataclass(frozen=True)
class TextParts:
    """The parts of a text tower, which open_clip keeps in ``model.text`` or at the top of the model."""

    embedding: nn.Embedding
    positions: Tensor
    transformer: Any
    norm: nn.Module
    projection: nn.Module | Tensor | None
    mask: Tensor | None
    pool: str
    eos: int | None

    def project(self, x: Tensor) -> Tensor:
        """Into the joint space."""
        if self.projection is None:
            return x
        return self.projection(x) if isinstance(self.projection, nn.Module) else x @ self.projection


def encode_texts(
    model: nn.Module, ids: Tensor, tokens: Tensor | None = None, start: int = 1, chunk: int | None = None
) -> Tensor:
    """Token ids (N, L) of an open_clip model -> text features (N, D), not unit length.

    ``tokens`` (depth, length, width) stand at positions ``start``, ``start + 1``, ... (1 is after the start token;
    see :func:`first_word`): the texts must have that many words to lose there. ``chunk`` texts at a time are run, and
    run again when the gradient is taken, so that memory does not grow with the number of classes.

    A text ends at its end token: positions after the longest end are not computed where they cannot matter.

    Raises:
        UsageError: the text tower is not one of open_clip's own.
    """
    tower = text_parts(model)

    def encode(part: Tensor) -> Tensor:
        return _run_text(tower, _trimmed(tower, part), tokens, start)

    if not chunk or len(ids) <= chunk:
        return encode(ids)
    pieces: list[Any] = [checkpoint(encode, part, use_reentrant=False) for part in ids.split(chunk)]
    return torch.cat(pieces)


def text_parts(model: nn.Module) -> TextParts:
    """The parts of a model's text tower.

    Raises:
        UsageError: it is not one of open_clip's own, or has an appended class token (CoCa).
    """
    top = isinstance(model, open_clip.CLIP)
    found: Any = model if top else getattr(model, "text", None)
    coca = getattr(found, "cls_emb", None) is not None
    if coca or not (top or isinstance(found, TextTransformer)):
        name = type(found).__name__ + (" with a class token" if coca else "")
        raise UsageError(f"the text tower {name} takes no prompts; learn visual prompts alone, or use plain templates")
    return TextParts(
        embedding=found.token_embedding,
        positions=found.positional_embedding,
        transformer=found.transformer,
        norm=found.ln_final,
        projection=found.text_projection,
        mask=found.attn_mask,
        pool=getattr(found, "text_pool_type" if top else "pool_type"),
        eos=getattr(found, "text_eos_id" if top else "eos_id", None),
    )


def text_tower_size(model: nn.Module) -> tuple[int, int]:
    """How many blocks a text tower has, and how wide its tokens are."""
    tower = text_parts(model)
    return len(tower.transformer.resblocks), tower.embedding.embedding_dim


def first_word(tokenizer: Callable[[list[str]], Tensor]) -> int:
    """The position of a text's first word: 1 after a start token, 0 where the tokenizer has none (SigLIP)."""
    one, other = tokenizer(["dog", "cat"])
    return int((one != other).int().argmax())


def _run_text(tower: TextParts, ids: Tensor, tokens: Tensor | None, start: int) -> Tensor:
    x = tower.embedding(ids)
    if tokens is not None:
        x = _put(x, tokens, 0, start)
    x = x + tower.positions[: x.shape[1]]
    mask = None if tower.mask is None else tower.mask[: x.shape[1], : x.shape[1]]
    x = tower.norm(_through(_open_clip_blocks(tower.transformer, attn_mask=mask), x, tokens, start))
    return tower.project(text_global_pool(x, ids, tower.pool, eos_token_id=tower.eos))


def _trimmed(tower: TextParts, ids: Tensor) -> Tensor:
    """Ids up to the longest text's end token: under a causal mask nothing before it can see what follows."""
    if tower.mask is None or tower.pool not in ("argmax", "eos"):
        return ids
    ends = ids.argmax(-1) if tower.pool == "argmax" else (ids == tower.eos).int().argmax(-1)
    return ids[:, : int(ends.max()) + 1]


# ------------------------------------------------------------------------------------------------ tokens into sequences


def _put(x: Tensor, tokens: Tensor, block: int, at: int) -> Tensor:
    """Sequences (B, N, width) with ``tokens[block]`` at positions ``at``, ...; there they are appended or replace."""
    rows = tokens[block].to(x.dtype).expand(x.shape[0], -1, -1)  # len(x) would fix the batch of an export
    return torch.cat([x[:, :at], rows, x[:, at + rows.shape[1] :]], dim=1)


def _through(blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, tokens: Tensor | None, at: int) -> Tensor:
    """Run the blocks; the deep tokens replace those at their places on the way in."""
    depth = 0 if tokens is None else len(tokens)
    for number, block in enumerate(blocks):
        if tokens is not None and 0 < number < depth:
            x = _put(x, tokens, number, at)
        x = block(x)
    return x


def _open_clip_blocks(transformer: Any, **arguments: Any) -> list[Callable[[Tensor], Tensor]]:
    """The blocks of an open_clip transformer as functions of (B, N, width), whichever layout they work in."""
    plain = [partial(block, **arguments) for block in transformer.resblocks]
    if transformer.batch_first:
        return list(plain)
    return [lambda x, block=block: block(x.transpose(0, 1)).transpose(0, 1) for block in plain]
