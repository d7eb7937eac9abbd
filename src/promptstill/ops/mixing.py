"""How the members of an ensemble of teachers are weighted, image by image."""

from collections.abc import Sequence

import torch
from torch import Tensor


def by_confidence(features: Tensor, vectors: Tensor, scale: float, widths: Sequence[int]) -> Tensor:
    """Joined embeddings (B, D), the part of each member times M w_m(x): no longer of unit length.

    ``features`` (B, D) and ``vectors`` (K, D) are joined from M parts of the given widths so that
    ``scale * features @ vectors.T`` is the equal mean of the members' logits z_m. The same product with what is
    returned is ``sum_m w_m z_m``, where w_m is the member's largest class probability over the sum of all members'.
    Confidence weights of several teachers: The Professor (arXiv 2606.23897).
    """
    count, parts = len(widths), features.split(list(widths), dim=-1)
    pairs = zip(parts, vectors.split(list(widths), dim=-1), strict=True)
    sure = torch.stack([(count * scale * f @ t.T).softmax(-1).amax(-1) for f, t in pairs])
    weights = count * sure / sure.sum(0)
    return torch.cat([weight[:, None] * part for weight, part in zip(weights, parts, strict=True)], dim=-1)
