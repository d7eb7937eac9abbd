"""Cutouts for guidance: differentiable augmentations whose every parameter is drawn from the image's own stream.

One homography does scale, rotation, shift and perspective; then colour jitter, an erased box, and noise. Drawing and
applying are apart, so that an image's cutouts are the same whatever the batch. The cutouts of an image share one field
of noise, each at its own strength: drawing and moving a field for every one of 32 cutouts costs more than it gives.
"""

from dataclasses import dataclass

import kornia
import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Cutouts:
    """Drawn parameters of n cutouts of one or more images."""

    corners: Tensor  # (n, 4, 2) where the picture's corners go, in [-1, 1] coordinates
    colour: Tensor  # (n, 2) factors of brightness and contrast
    box: Tensor  # (n, 4) erased box: left, top, right, bottom in [0, 1]; empty if right <= left
    level: Tensor  # (n,) strength of the noise
    noise: Tensor  # (images, 3, S, S), shared by an image's cutouts


SQUARE = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def _uniform(n: int, shape: tuple[int, ...], low: float, high: float, rng: Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, *shape, generator=rng)


def draw_cutouts(n: int, size: int, noise: float, rng: Generator) -> Cutouts:
    """Parameters of n cutouts of one image at ``size`` pixels. The same stream gives the same cutouts."""
    angle = _uniform(n, (), -0.2, 0.2, rng)
    zoom = _uniform(n, (1, 1), 0.85, 1.15, rng)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(n, 2, 2)
    shift = _uniform(n, (1, 2), -0.15, 0.15, rng)
    corners = zoom * SQUARE @ turn + shift + _uniform(n, (4, 2), -0.15, 0.15, rng)
    start = _uniform(n, (2,), 0.0, 0.8, rng)
    side = _uniform(n, (2,), 0.1, 0.4, rng) * (torch.rand(n, 1, generator=rng) < 0.5)
    level, grain = _uniform(n, (), 0.0, noise, rng), torch.randn(1, 3, size, size, generator=rng)
    return Cutouts(corners, _uniform(n, (2,), 0.85, 1.15, rng), torch.cat([start, start + side], -1), level, grain)


def stack_cutouts(parts: list[Cutouts]) -> Cutouts:
    """Join the cutouts of several images, image after image."""
    columns = zip(*((p.corners, p.colour, p.box, p.level, p.noise) for p in parts), strict=True)
    return Cutouts(*(torch.cat(column) for column in columns))


def apply_cutouts(images: Tensor, cutouts: Cutouts) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] -> (B * n, 3, S, S), the n cutouts of an image side by side."""
    n = len(cutouts.corners) // len(images)
    size = cutouts.noise.shape[-1]
    pictures = images.repeat_interleave(n, 0)
    square = SQUARE.to(images).expand(len(pictures), 4, 2)
    homography = kornia.geometry.get_perspective_transform(cutouts.corners.to(images), square)
    warped = kornia.geometry.homography_warp(pictures, homography, (size, size), padding_mode="border")
    colour = cutouts.colour.to(images)[:, :, None, None, None]
    mean = warped.mean((1, 2, 3), keepdim=True)
    warped = (warped - mean) * colour[:, 1] + mean * colour[:, 0]
    noise = cutouts.noise.to(images).unsqueeze(1) * cutouts.level.to(images).view(len(images), n, 1, 1, 1)
    return warped * _kept(cutouts.box.to(images), size) + noise.flatten(0, 1)


def _kept(box: Tensor, size: int) -> Tensor:
    """(n, 1, S, S) mask, zero inside each box."""
    at = (torch.arange(size, device=box.device) + 0.5) / size
    across = (at >= box[:, 0:1]) & (at < box[:, 2:3])
    down = (at >= box[:, 1:2]) & (at < box[:, 3:4])
    return 1 - (down[:, :, None] & across[:, None, :]).unsqueeze(1).to(box)
