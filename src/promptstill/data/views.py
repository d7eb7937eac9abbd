"""Views: one deterministic augmentation of one image, a pure function of (seed, image id, view number).

Teacher and student replay the very same crop, each at its own size; nothing about a view is stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from promptstill.data.images import Images
from promptstill.engine import stream_seed
from promptstill.ops.preprocess import FILTERS, to_unit

CACHE_BYTES = 1 << 29  # views are kept in memory up to this; past it they are made anew each time


@dataclass(frozen=True)
class Crop:
    """A box as shares of the picture's sides, and whether it is mirrored."""

    left: float
    top: float
    width: float
    height: float
    mirrored: bool


def draw_crop(seed: int, image_id: str, number: int, aspect: float, smallest: float, flip: bool) -> Crop:
    """A random resized crop: area share in [smallest, 1], aspect ratio in [3/4, 4/3]; ``aspect`` is the picture's."""
    rng = np.random.Generator(np.random.Philox(stream_seed(seed, "view", image_id, number)))
    for _ in range(10):
        area, ratio = rng.uniform(smallest, 1), np.exp(rng.uniform(-np.log(4 / 3), np.log(4 / 3)))
        width, height = np.sqrt(area * ratio / aspect), np.sqrt(area / ratio * aspect)
        if width <= 1 and height <= 1:
            break
    else:
        width, height = min(1.0, 1 / aspect), min(1.0, aspect)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return Crop(float(left), float(top), float(width), float(height), bool(flip and rng.random() < 0.5))


def apply_crop(picture: Image.Image, crop: Crop, size: int, interpolation: str) -> np.ndarray:
    """Cut the crop out of a picture and resize it to (3, size, size) uint8."""
    wide, high = picture.size
    box = (crop.left * wide, crop.top * high, (crop.left + crop.width) * wide, (crop.top + crop.height) * high)
    pixels = np.asarray(picture.resize((size, size), FILTERS[interpolation], box=box), dtype=np.uint8)
    return np.ascontiguousarray((pixels[:, ::-1] if crop.mirrored else pixels).transpose(2, 0, 1))


class Views:
    """All views of a set of images at one input size."""

    def __init__(self, images: Images, seed: int, crop: float, flip: bool, size: int, interpolation: str) -> None:
        self.images, self.seed, self.crop, self.flip = images, seed, crop, flip
        self.size, self.interpolation = size, interpolation
        self._kept: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int, number: int) -> np.ndarray:
        """View ``number`` of image ``index``: (3, S, S) uint8."""
        found = self._kept.get((index, number))
        if found is not None:
            return found
        made = self._cut(self.images.read(index), index, number)
        if (len(self._kept) + 1) * made.nbytes <= CACHE_BYTES:
            self._kept[index, number] = made
        return made

    def _cut(self, picture: Image.Image, index: int, number: int) -> np.ndarray:
        aspect = picture.width / picture.height
        crop = draw_crop(self.seed, self.images.ids[index], number, aspect, self.crop, self.flip)
        return apply_crop(picture, crop, self.size, self.interpolation)

    def batch(self, indices: Sequence[int], number: int) -> Tensor:
        """Views of several images: (B, 3, S, S) float32 in [0, 1]."""
        return to_unit(torch.from_numpy(np.stack([self.pixels(index, number) for index in indices])))

    def every(self, numbers: Sequence[int], start: int = 0, size: int = 64) -> Iterator[Tensor]:
        """All views ``numbers`` of all images in batches, image by image, from the ``start``-th on; nothing is kept.

        Each image is decoded once for all its views.
        """
        first, skip = divmod(start, len(numbers))
        rows: list[np.ndarray] = []
        for index in range(first, len(self)):
            picture = self.images.read(index)
            for number in numbers[skip if index == first else 0 :]:
                rows.append(self._cut(picture, index, number))
                if len(rows) == size:
                    yield to_unit(torch.from_numpy(np.stack(rows)))
                    rows = []
        if rows:
            yield to_unit(torch.from_numpy(np.stack(rows)))
