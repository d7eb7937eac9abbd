"""From a decoded picture to a tensor: the same resize for teacher, student and deployment."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from promptstill.errors import UsageError

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class Preprocess:
    """A model's input: side in pixels, channel statistics, interpolation, and how a picture is made square."""

    size: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"  # shortest side + centre crop | squash

    def __post_init__(self) -> None:
        """Refuse what :func:`to_array` cannot do.

        Raises:
            UsageError: an interpolation or resize mode that we do not have.
        """
        for name, known in (("interpolation", FILTERS), ("resize_mode", ("shortest", "squash"))):
            if getattr(self, name) not in known:
                value, shown = getattr(self, name), ", ".join(known)
                raise UsageError(f"preprocessing with {name} {value!r} cannot be done; use a model with one of {shown}")

    @classmethod
    def load(cls, content: dict[str, Any]) -> Self:
        """From the JSON of :meth:`dump`."""
        lists = {name: tuple(content[name]) for name in ("mean", "std")}
        return cls(**dict[str, Any](content | lists))

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def to_array(picture: Image.Image, pre: Preprocess) -> np.ndarray:
    """An RGB picture -> (3, S, S) uint8, resized and cropped as the model wants it, not yet normalised."""
    filter_ = FILTERS[pre.interpolation]
    width, height = picture.size
    if pre.resize_mode == "squash":
        resized = picture.resize((pre.size, pre.size), filter_)
    else:
        wide, high = (pre.size * side // min(width, height) for side in (width, height))
        left, top = round((wide - pre.size) / 2), round((high - pre.size) / 2)
        resized = picture.resize((wide, high), filter_).crop((left, top, left + pre.size, top + pre.size))
    return np.ascontiguousarray(np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1))


def to_unit(pixels: Tensor | np.ndarray) -> Tensor:
    """uint8 pixels -> float32 in [0, 1]."""
    return torch.as_tensor(pixels) / 255  # one pass; bytes become float32


def resize(images: Tensor, size: int) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] -> (B, 3, size, size), bicubic with antialiasing; differentiable."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def normalize(images: Tensor, pre: Preprocess) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] -> the model's channel statistics."""
    mean, std = (
        torch.tensor(v, device=images.device, dtype=images.dtype).view(1, -1, 1, 1) for v in (pre.mean, pre.std)
    )
    return (images - mean) / std
