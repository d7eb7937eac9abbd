"""The maths of CLIP-guided synthesis (VQGAN-CLIP; DFKD-VLFM eq. 1-3): distance, clamp, straight-through, projection."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def spherical_distance(x: Tensor, y: Tensor) -> Tensor:
    """Half the squared angle between paired vectors: (..., D), (..., D) -> (...), in [0, pi^2/2].

    Equal to ``2 arcsin(|u - v| / 2)^2`` of the unit vectors u, v, written with atan2 so that the gradient stays
    finite at equal and at opposite vectors.
    """
    u, v = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    angle = 2 * torch.atan2(torch.linalg.vector_norm(u - v, dim=-1), torch.linalg.vector_norm(u + v, dim=-1))
    return angle.square() / 2


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,), (low, high), grad = ctx.saved_tensors, ctx.bounds, grads[0]
        return grad * (grad * (x - x.clamp(low, high)) >= 0), None, None


def clamp_with_gradient(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Clamp whose gradient vanishes only where a descent step would push ``x`` further out."""
    return cast(Tensor, _Clamp.apply(x, low, high))


def nearest_codes(z: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest codebook row by squared distance: (..., C), (N, C) -> (...)."""
    distance = codebook.square().sum(-1) - 2 * z @ codebook.T  # |z|^2 is the same for every row
    return distance.argmin(-1)


def straight_through(z: Tensor, codebook: Tensor) -> Tensor:
    """Nearest codebook rows (..., C); the gradient passes to ``z`` unchanged."""
    rows = F.embedding(nearest_codes(z.detach(), codebook), codebook)
    return z + (rows - z).detach()


def project(z: Tensor, codebook: Tensor) -> Tensor:
    """Clamp each channel of ``z`` (..., C) to the codebook's range in that channel."""
    return torch.minimum(torch.maximum(z, codebook.min(0).values), codebook.max(0).values)
