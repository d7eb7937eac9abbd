"""Pictures that synthesis can begin with: a plain sheet of paper, and one with random shapes on it."""

import math

import torch
from torch import Generator, Tensor

WHITE, BLACK = 0.6, 0.1  # shares of white and of black sheets; the others have a light colour


def sheet(size: int, shapes: int, rng: Generator) -> Tensor:
    """A sheet (3, S, S) in [0, 1] with so many random ellipses and rectangles, each of one colour."""
    kind, light = float(torch.rand((), generator=rng)), 0.6 + 0.4 * torch.rand(3, generator=rng)
    paper = torch.ones(3) if kind < WHITE else torch.zeros(3) if kind < WHITE + BLACK else light
    picture = paper[:, None, None].repeat(1, size, size)
    for _ in range(shapes):
        colour = torch.rand(3, generator=rng)
        picture = torch.where(_shape(size, rng), colour[:, None, None], picture)
    return picture


def _shape(size: int, rng: Generator) -> Tensor:
    """(S, S) mask of a turned ellipse or rectangle."""
    at = torch.linspace(-1, 1, size)
    centre = 1.2 * torch.rand(2, generator=rng) - 0.6
    side, angle = 0.15 + 0.45 * torch.rand(2, generator=rng), math.pi * float(torch.rand((), generator=rng))
    x, y = at[None] - centre[0], at[:, None] - centre[1]
    u = (x * math.cos(angle) + y * math.sin(angle)) / side[0]
    v = (y * math.cos(angle) - x * math.sin(angle)) / side[1]
    if float(torch.rand((), generator=rng)) < 0.5:
        return u.square() + v.square() < 1
    return (u.abs() < 1) & (v.abs() < 1)
