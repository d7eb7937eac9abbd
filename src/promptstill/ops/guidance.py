"""The maths of CLIP-guided synthesis (VQGAN-CLIP; DFKD-VLFM eq. 1-3): distance, clamp, straight-through, projection."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

BETAS = 0.9, 0.999  # Adam's own defaults


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
    flat = z.reshape(-1, z.shape[-1])
    distance = torch.addmm(codebook.square().sum(-1), flat, codebook.T, alpha=-2)  # |z|^2 is the same for every row
    return distance.argmin(-1).view(z.shape[:-1])


def live_codes(codebook: Tensor, share: float = 0.01) -> Tensor:
    """The rows that training has moved: those longer than ``share`` of the longest one. (N, C) -> (M, C), M <= N.

    Published codebooks keep most rows at their first values, which are shorter by orders of magnitude: a random one of
    these is a start at about zero, and searching them is in vain.
    """
    length = codebook.norm(dim=-1)
    return codebook[length > share * length.max()]


def straight_through(z: Tensor, codebook: Tensor) -> Tensor:
    """Nearest codebook rows (..., C); the gradient passes to ``z`` unchanged."""
    rows = F.embedding(nearest_codes(z.detach(), codebook), codebook)
    return z + (rows - z).detach()


def project(z: Tensor, codebook: Tensor) -> Tensor:
    """Clamp each channel of ``z`` (..., C) to the codebook's range in that channel."""
    return torch.minimum(torch.maximum(z, codebook.min(0).values), codebook.max(0).values)


def adam_step(z: Tensor, grad: Tensor, moments: tuple[Tensor, Tensor], step: Tensor, lr: float) -> Tensor:
    """Adam with torch's default constants on items that began at different times.

    Args:
        z: (B, ...), moved in place. grad: its gradient. moments: first and second moment, moved in place.
        step: (B,), each item's number of steps, this one included.

    Returns: ``z``.
    """
    first, second = moments
    over = (-1, *[1] * (z.dim() - 1))
    bias = [(1 - beta ** step.double()).to(z).view(over) for beta in BETAS]  # in fp32, 1 - 0.999 loses four digits
    first.lerp_(grad, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
    spread = (second / bias[1]).sqrt_().add_(1e-8)
    return z.sub_(lr * (first / bias[0]) / spread)


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, down and across: (B, 3, H, W) -> (B,)."""
    return sum((images.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (-1, -2)), images.new_zeros(len(images)))
