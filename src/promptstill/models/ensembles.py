"""Several teachers as one: their logits averaged, by embeddings whose inner product is that average.

With unit features f_m and unit class vectors t_mk of member m, its logit scale s_m and an equal share 1/M, let
S = sum_m s_m / M and a_m = sqrt(s_m / (M S)). The joined vectors F = [a_1 f_1, ..., a_M f_M] and T_k = [a_1 t_1k, ...]
have unit length, and S F T_k = mean_m s_m f_m t_mk. So an ensemble is a teacher like any other: stores hold F, class
vectors T.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from promptstill.errors import UsageError
from promptstill.models.clip import Clip
from promptstill.ops.preprocess import resize


class Ensemble(Clip):
    """The equal average of the logits of at least two CLIPs; each member sees images at its own size."""

    def __init__(self, members: Sequence[Clip]) -> None:
        if len(members) < 2:
            raise UsageError("an ensemble needs at least two teachers; give A+B")
        self.members = tuple(members)
        self.uri = "+".join(member.uri for member in members)
        self.config = {"embed_dim": sum(member.dim for member in members)}
        self.model = nn.ModuleList(member.model for member in members)
        largest = max((member.preprocess for member in members), key=lambda pre: pre.size)
        self.preprocess = replace(largest, mean=(0.0,) * 3, std=(1.0,) * 3)  # each member normalises by itself
        self._visual = _Towers(self)

    @property
    def visual(self) -> nn.Module:
        """All image towers: images (B, 3, S, S) in [0, 1] -> unit features (B, D)."""
        return self._visual

    @cached_property
    def scale(self) -> float:
        """S: the mean of the members' logit scales."""
        return sum(member.scale for member in self.members) / len(self.members)

    @cached_property
    def hash(self) -> str:
        """sha256 over the members' hashes, in order."""
        return hashlib.sha256(" ".join(member.hash for member in self.members).encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.members[0].device

    def to(self, device: torch.device | str) -> "Ensemble":
        """Move the weights of all members."""
        for member in self.members:
            member.to(device)
        return self

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Unit features of each member (N, D_m) -> unit joined features (N, D)."""
        whole = len(self.members) * self.scale
        shares = [math.sqrt(member.scale / whole) for member in self.members]
        return torch.cat([share * part for share, part in zip(shares, parts, strict=True)], dim=-1)

    def embed_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] -> unit features (B, D); differentiable in the images."""
        return self.join([member.embed_images(resize(images, member.preprocess.size)) for member in self.members])

    def embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Texts -> unit features (N, D)."""
        return self.join([member.embed_texts(texts, batch_size) for member in self.members])

    def refuse_long(self, texts: Sequence[str]) -> None:
        """Raise :class:`DataError` for the first text that is too long for a member."""
        for member in self.members:
            member.refuse_long(texts)


class _Towers(nn.Module):
    """The members' image towers as one module, to be counted and timed like any other."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.towers = nn.ModuleList(member.visual for member in ensemble.members)
        self._embed = ensemble.embed_images

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> unit features."""
        return self._embed(images)
