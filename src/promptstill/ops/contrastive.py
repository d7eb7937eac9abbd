"""The maths of prompt diversification (DFKD-VLFM sec. 3.3): mixing styles, drawing pseudo-words, pushing apart."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """``share`` of the first and the rest of the second, row by row: (N, D), (N, D), (N,) -> (N, D). Eq. 6."""
    return share.unsqueeze(-1) * first + (1 - share).unsqueeze(-1) * second


def mix_unit(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """:func:`mix` of unit vectors, made unit length again: without that, longer features would get a larger share."""
    return F.normalize(mix(F.normalize(first, dim=-1), F.normalize(second, dim=-1), share), dim=-1)


def token_statistics(table: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1/K, not 1/(K-1)) of each dimension over a token table (K, D). Eq. 8-9."""
    return table.mean(0), table.std(0, correction=0)


def pseudo_words(mean: Tensor, deviation: Tensor, noise: Tensor, spread: float) -> Tensor:
    """``mean + spread * noise * deviation``: (D,), (D,), standard normal (N, D) -> (N, D). Eq. 10."""
    return mean + spread * noise * deviation


def contrastive_loss(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    tau: float,
    *,
    allowed: Tensor | None = None,
    include_positive: bool = False,
) -> Tensor:
    """``-log(exp(cos(T, T+) / tau) / sum_b exp(cos(T, T_b) / tau))`` of each item, eq. 12: (B,).

    Args:
        anchors: embeddings (B, D) of any length. positives: each item's own (B, D). negatives: shared (M, D).
        allowed: (B, M), which negatives count for which item; all by default. An item without any has loss 0.
        include_positive: count the positive in the sum too (InfoNCE); the paper's sum has negatives only.
    """
    anchors, positives, negatives = (F.normalize(x, dim=-1) for x in (anchors, positives, negatives))
    near = (anchors * positives).sum(-1) / tau
    scores = anchors @ negatives.T / tau
    if allowed is None:
        allowed = torch.ones_like(scores, dtype=torch.bool)
    lonely = ~allowed.any(-1)
    scores = scores.masked_fill(~allowed, -torch.inf).masked_fill(lonely.unsqueeze(-1), 0.0)  # no sum over nothing
    if include_positive:
        scores = torch.cat([near.unsqueeze(-1), scores], -1)
    return (scores.logsumexp(-1) - near).masked_fill(lonely, 0.0)


@dataclass(frozen=True)
class Items:
    """Embeddings (N, D) with the class and the number of each; a memory bank of past ones, or the batch itself."""

    features: Tensor
    labels: Tensor
    numbers: Tensor

    @classmethod
    def none(cls, dim: int, device: torch.device | str = "cpu") -> Self:
        """No items of ``dim`` dimensions."""
        nothing = torch.zeros(0, dtype=torch.long, device=device)
        return cls(torch.zeros(0, dim, device=device), nothing, nothing)

    def __len__(self) -> int:
        return len(self.features)

    def detach(self) -> Self:
        """The same items, without gradient."""
        return type(self)(self.features.detach(), self.labels, self.numbers)

    def take(self, index: Tensor | slice) -> Self:
        """Some of the items."""
        return type(self)(self.features[index], self.labels[index], self.numbers[index])

    def join(self, newer: Self, most: int | None = None) -> Self:
        """These items and newer ones; the oldest are dropped if there are more than ``most``."""
        pairs = ((self.features, newer.features), (self.labels, newer.labels), (self.numbers, newer.numbers))
        joined = type(self)(*(torch.cat(pair) for pair in pairs))
        return joined if most is None else joined.take(slice(max(0, len(joined) - most), None))

    def sample(self, count: int, stream: Generator) -> Self:
        """``count`` different items, or all if there are no more."""
        if count >= len(self):
            return self
        return self.take(torch.randperm(len(self), generator=stream)[:count].to(self.labels.device))

    def allowed(self, others: Self, *, within_class: bool = False) -> Tensor:
        """Which of ``others`` are negatives of these items (B, M): never an item itself, nor an earlier state of it."""
        apart = self.numbers.unsqueeze(-1) != others.numbers
        return apart & (self.labels.unsqueeze(-1) == others.labels) if within_class else apart


def retention(features: Tensor, labels: Tensor, vectors: Tensor) -> float:
    """Share of unit embeddings (N, D) whose nearest class vector (K, D) is that of their own class."""
    return float((features @ vectors.T).argmax(-1).eq(labels).float().mean())


def distances(features: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean cosine distance of unit embeddings (N, D) over pairs ``within`` a class and ``between`` classes.

    Computed from sums, so that it is linear in N; 0 where there is no such pair.
    """
    classes = int(labels.max()) + 1
    wide = features.double()
    sums = torch.zeros(classes, features.shape[-1], dtype=torch.double, device=wide.device).index_add_(0, labels, wide)
    counts = torch.bincount(labels, minlength=classes).double()
    inside = float(sums.square().sum() - wide.square().sum())  # sum of cosines over ordered pairs of one class
    across = float(sums.sum(0).square().sum() - sums.square().sum())
    pairs = float((counts * (counts - 1)).sum()), float(counts.sum() ** 2 - counts.square().sum())
    means = (total / count if count else 1.0 for total, count in zip((inside, across), pairs, strict=True))
    return dict(zip(("within", "between"), (1 - mean for mean in means), strict=True))
