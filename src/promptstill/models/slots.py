"""What stands in the slots of a painter: images that are moved together, each with its own state and random stream."""

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Job:
    """An image to be painted: its place among the prompts, its latent, the steps still to do, its own stream."""

    row: int
    z: Tensor
    steps: int
    stream: Generator
    warm: bool = False
    spent: int = 0  # steps done at half the size


@dataclass
class Slots:
    """Latents (B, ...) that are moved together, each with its target, Adam state and running means."""

    z: Tensor
    first: Tensor
    second: Tensor
    target: Tensor  # (B, D)
    label: Tensor  # (B,)
    step: Tensor  # (B,) on the CPU: steps done
    limit: Tensor  # (B,) on the CPU: most steps
    row: Tensor  # (B,) on the CPU
    loss: Tensor  # (B,) of the last step
    mean: Tensor  # (B,) running mean of the loss
    before: Tensor  # (B,) that mean at the last look
    score: Tensor  # (B,) running mean of the teacher's probability of the class
    streams: tuple[Generator, ...]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, keep: Tensor) -> "Slots":
        """The slots where ``keep`` (B,) holds."""
        index = keep.nonzero().flatten()
        parts = {name: getattr(self, name)[index.to(getattr(self, name).device)] for name in TENSORS}
        return Slots(**parts, streams=tuple(self.streams[i] for i in index.tolist()))

    def join(self, newer: "Slots") -> "Slots":
        """These slots, then the newer ones."""
        parts = {name: torch.cat([getattr(self, name), getattr(newer, name)]) for name in TENSORS}
        return Slots(**parts, streams=self.streams + newer.streams)


TENSORS = tuple(field.name for field in fields(Slots) if field.name != "streams")
