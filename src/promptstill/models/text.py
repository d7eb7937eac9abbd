"""A frozen text tower opened at its embedding: pseudo-words go in where a word's embedding would.

For open_clip's own causal transformers. What follows the read-out position cannot reach it there, so sequences are cut
right after the longest one: exact, and several times cheaper than the full context.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.ensembles import Ensemble

PLACEHOLDER = "*"  # one token in CLIP's vocabulary, and no word


class TextTower:
    """The text side of a :class:`Clip`, by parts. It shares the weights; it is no ``nn.Module`` and learns nothing."""

    def __init__(self, clip: Clip) -> None:
        """Open the tower of ``clip``.

        Raises:
            UsageError: the tower does not embed tokens where we could reach them, or is not causal.
        """
        self.clip = clip
        parts: Any = getattr(clip.model, "text", clip.model)  # open_clip has both layouts
        self.pool = getattr(parts, "text_pool_type", None) or getattr(parts, "pool_type", None)
        self.eot_id = getattr(parts, "text_eos_id", None) or getattr(parts, "eos_id", None)
        obstacle = _obstacle(clip, parts, self.pool)
        if obstacle:
            raise UsageError(f"pseudo-words cannot be put into {clip.uri!r}: {obstacle}; use the strategy mix instead")
        self.token_embedding: nn.Embedding = parts.token_embedding
        self.positions: Tensor = parts.positional_embedding
        self.mask: Tensor = parts.attn_mask
        self.blocks: nn.Module = parts.transformer
        self.norm: nn.Module = parts.ln_final
        self.projection: Tensor | nn.Linear | None = parts.text_projection

    @property
    def table(self) -> Tensor:
        """The token embeddings (K, D_t): one row for each token of the vocabulary, special ones included."""
        return self.token_embedding.weight

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Texts -> token ids (N, L) on the model's device, cut right after the longest text's read-out position.

        Raises:
            DataError: a text is longer than the model's context.
        """
        limit = len(self.positions)
        ids = self.clip.tokenizer(list(texts), context_length=limit + 1)  # one more, to see what would be cut off
        ends = self.ends(ids)
        for text, end in zip(texts, ends.tolist(), strict=True):
            if end >= limit:
                raise DataError(f"{text!r} is over {limit} tokens, all that {self.clip.uri} reads; shorten it")
        return ids[:, : int(ends.max()) + 1].to(self.clip.device)

    def ends(self, ids: Tensor) -> Tensor:
        """Where each sequence (N, L) is read out: the end-of-text token, found in the original ids. (N,)"""
        return ids.argmax(-1) if self.pool == "argmax" else (ids == self.eot_id).int().argmax(-1)

    def encode(self, ids: Tensor, words: Tensor | None = None) -> Tensor:
        """Token ids (N, L) -> raw text features (N, D); differentiable in ``words``.

        With pseudo-words ``words`` (N, D_t), each sequence's last token before the end keeps a place free, and its
        embedding is overwritten before positions are added (DFKD-VLFM eq. 11). Sequences may differ in length.
        """
        ends, each = self.ends(ids), torch.arange(len(ids), device=ids.device)
        length = int(ends.max()) + 1
        rows = self.token_embedding(ids[:, :length])
        if words is not None:
            rows = rows.index_put((each, ends - 1), words.to(rows))
        hidden = self.blocks(rows + self.positions[:length], attn_mask=self.mask[:length, :length])
        pooled = self.norm(hidden[each, ends])
        if self.projection is None:
            return pooled
        return self.projection(pooled) if isinstance(self.projection, nn.Linear) else pooled @ self.projection


def _obstacle(clip: Clip, parts: Any, pool: str | None) -> str | None:
    """Why pseudo-words cannot go into this tower, if so."""
    if isinstance(clip, Ensemble):
        return "several teachers have no common token table"
    if not isinstance(getattr(parts, "token_embedding", None), nn.Embedding):
        return "its text tower is another library's and does not show its token embeddings"
    if getattr(parts, "cls_emb", None) is not None:
        return "its text tower reads out a class token of its own"
    if not isinstance(getattr(parts, "attn_mask", None), Tensor):
        return "its text tower is not causal"
    if pool not in ("argmax", "eos"):
        return f"its text tower reads out at {pool!r}, not at the end of the text"
    return None
