"""Random changes to batches of pictures, as tensor functions. Each draws from the generator that it is given."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

MEAN, STD = 0.5, 0.5  # what the ImageNet weights of EfficientNet-Lite0 were trained with, within 1 %


def normalise(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] -> what the towers take."""
    return (pictures - MEAN) / STD


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Uniform numbers in [low, high)."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def random_views(count: int, generator: Generator) -> Tensor:
    """Affine maps ``(n, 2, 3)`` for ``affine_grid``: scale 0.7 to 1.2, 12 degrees, shifts of a tenth, half mirrored."""
    zoom = torch.exp(uniform((count,), math.log(0.7), math.log(1.2), generator))
    stretch = torch.exp(uniform((count,), -0.12, 0.12, generator))
    angle = torch.randn((count,), generator=generator) * math.radians(6)
    mirror = torch.where(torch.rand((count,), generator=generator) < 0.5, -1.0, 1.0)
    cos, sin, shift = angle.cos() / zoom, angle.sin() / zoom, uniform((count, 2), -0.1, 0.1, generator)
    first = torch.stack([cos * mirror * stretch, -sin * stretch, shift[:, 0]], 1)
    return torch.stack([first, torch.stack([sin * mirror, cos, shift[:, 1]], 1)], 1)


def warp(pictures: Tensor, size: int, generator: Generator, *, bent: bool) -> Tensor:
    """Random views, ``bent`` or not, of ``size`` pixels; outside is the corner's colour, nearly always paper."""
    grid = F.affine_grid(random_views(len(pictures), generator), [len(pictures), 3, size, size], align_corners=False)
    if bent:
        grid = grid + bends(len(pictures), size, generator)
    corner = pictures[:, :, :1, :1]
    return F.grid_sample(pictures - corner, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + corner


def bends(count: int, size: int, generator: Generator) -> Tensor:
    """Smooth shifts ``(n, size, size, 2)`` for ``grid_sample``: as if drawn by another hand (Simard et al. 2003)."""
    cells = int(torch.randint(3, 6, (1,), generator=generator))
    shift = torch.randn((count, 2, cells, cells), generator=generator) * uniform((count, 1, 1, 1), 0, 0.09, generator)
    return F.interpolate(shift, (size, size), mode="bicubic").permute(0, 2, 3, 1)


def reink(pictures: Tensor, generator: Generator) -> Tensor:
    """Thicker lines in a quarter of the pictures, thinner ones in another; which is which hangs on the colours."""
    strength = uniform((len(pictures), 1, 1, 1), -2, 2, generator)
    more = F.max_pool2d(pictures, 3, 1, 1) - pictures
    less = pictures + F.max_pool2d(-pictures, 3, 1, 1)
    return pictures + (strength - 1).clamp(0, 0.7) * more - (-1 - strength).clamp(0, 0.7) * less


def cover(pictures: Tensor, generator: Generator) -> Tensor:
    """A box of paper over a quarter of the pictures, a tenth to four tenths of a side (random erasing, Zhong 2017)."""
    count, side = len(pictures), pictures.shape[-1]
    middle = uniform((2, count, 1), 0, 1, generator)
    half = uniform((2, count, 1), 0.05, 0.2, generator) * (torch.rand((count, 1), generator=generator) < 0.25)
    down, right = ((torch.arange(side) + 0.5) / side - middle).abs() < half
    return torch.where((down[:, :, None] & right[:, None])[:, None], pictures[:, :, :1, :1], pictures)


def blotches(count: int, size: int, generator: Generator) -> Tensor:
    """Smooth colour noise ``(n, 3, size, size)`` as a generator leaves it: mean 0, of a random strength per picture."""
    cells = int(torch.randint(2, 9, (1,), generator=generator))
    noise = torch.randn((count, 3, cells, cells), generator=generator) * uniform((count, 1, 1, 1), 0, 0.12, generator)
    return F.interpolate(noise, (size, size), mode="bilinear")


def soften(pictures: Tensor, generator: Generator) -> Tensor:
    """Lower the resolution and raise it again, by a random factor up to 2.5."""
    size = pictures.shape[-1]
    less = int(size / float(uniform((1,), 1.2, 2.5, generator)))
    return F.interpolate(F.interpolate(pictures, (less, less), mode="bilinear", antialias=True), (size, size),
                         mode="bilinear")  # fmt: skip


def augment(pictures: Tensor, size: int, generator: Generator, *, hard: bool) -> Tensor:
    """Normalised training pictures ``(n, 3, size, size)`` from uint8 ones ``(n, 3, 64, 64)`` in random order.

    ``hard`` also bends them, changes the width of lines and covers parts: against learning drawings by heart.
    The first quarter is softened, the next three eighths get blotches and grain, the rest a change of contrast.
    """
    x = warp(reink(pictures / 255, generator) if hard else pictures / 255, size, generator, bent=hard)
    x = cover(x, generator) if hard else x
    quarter, noisy = len(x) // 4, slice(len(x) // 4, 5 * len(x) // 8)
    x[:quarter] = soften(x[:quarter], generator)
    count = len(x[noisy])
    grain = torch.randn(x[noisy].shape, generator=generator) * uniform((count, 1, 1, 1), 0, 0.06, generator)
    x[noisy] += blotches(count, size, generator) + grain
    rest = slice(5 * len(x) // 8, None)
    contrast, middle = uniform((len(x[rest]), 1, 1, 1), 0.5, 1.2, generator), uniform((1, 3, 1, 1), 0.3, 0.7, generator)
    x[rest] = (x[rest] - middle) * contrast + middle
    return normalise(x.clamp(0, 1))
