"""A finished student at work: pictures in, class names out."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from promptstill.artifacts import ClassVectors
from promptstill.data.decode import BYTES_LIMIT, decode, image_error, normal, too_long
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import Bundle, load_bundle
from promptstill.models.vectors import retarget
from promptstill.naming import as_names
from promptstill.ops.preprocess import to_array, to_unit


@dataclass(frozen=True)
class Prediction:
    """A class name and the student's probability of it."""

    label: str
    probability: float


class Classifier:
    """A student with its classes, in the manner of scikit-learn: ``classes_`` and ``predict_proba``."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.labels = bundle.vectors.names
        self.classes_ = np.array(self.labels)
        self._scores = bundle.module()
        self.preprocess = bundle.student.architecture.preprocess

    def module(self) -> nn.Module:
        """A plain ``nn.Module``: images (B, 3, S, S) in [0, 1], of the side ``preprocess.size`` -> logits (B, K)."""
        return self._scores

    @torch.no_grad()
    def predict_proba(self, images: Sequence[Any], batch_size: int = 64) -> np.ndarray:
        """Probabilities (N, K) of paths, bytes, PIL images, (H, W, 3) uint8 arrays or (3, H, W) tensors in [0, 1].

        One of these alone is a sequence of one.

        Raises:
            DataError: an image cannot be read. UsageError: it is of no type that can be one.
        """
        rows, images = [], listed(images)
        for start in range(0, len(images), batch_size):
            part = [to_array(as_picture(image), self.preprocess) for image in images[start : start + batch_size]]
            rows.append(self._scores(to_unit(np.stack(part))).softmax(-1))
        return torch.cat(rows).numpy() if rows else np.zeros((0, len(self.labels)), np.float32)

    def predict(self, images: Sequence[Any], top: int = 5) -> list[list[Prediction]]:
        """The ``top`` classes of each image, best first.

        Raises:
            DataError: an image cannot be read. UsageError: it is of no type that can be one, or ``top`` is no count.
        """
        if top < 1:
            raise UsageError(f"top={top} names no class; give 1 or more")
        best = np.argsort(-(scores := self.predict_proba(images)), axis=1, kind="stable")[:, :top]
        return [
            [Prediction(self.labels[k], float(row[k])) for k in order] for row, order in zip(scores, best, strict=True)
        ]

    def retarget(self, classes: Sequence[str] | ClassVectors, teacher: str | None = None) -> "Classifier":
        """The same student for other classes, no training: names by its teacher's text tower, or given class vectors.

        ``teacher`` is where that teacher is found now, if that is elsewhere.

        Raises:
            DataError: the teacher or the vectors are not of the student's own teacher.
            UsageError: the student has a head for its own classes.
        """
        if isinstance(classes, ClassVectors):
            return Classifier(self.bundle.of(classes))
        return Classifier(retarget(self.bundle, as_names(classes), teacher))


def answers(
    classifier: Classifier, paths: Sequence[Path], top: int, batch_size: int = 64
) -> Iterator[tuple[Path, list[Prediction] | DataError]]:
    """Each picture file with its ``top`` classes, or with why it cannot be read."""
    for start in range(0, len(paths), batch_size):
        found: list[tuple[Path, Image.Image | DataError]] = []
        for path in paths[start : start + batch_size]:
            try:
                found.append((path, as_picture(path)))
            except DataError as error:
                found.append((path, error))
        said = iter(classifier.predict([each for _, each in found if isinstance(each, Image.Image)], top))
        for path, each in found:
            yield path, each if isinstance(each, DataError) else next(said)


def listed(images: Any) -> Sequence[Any]:
    """Several pictures as they are, one alone as a list."""
    if isinstance(images, str | Path | bytes | Image.Image) or getattr(images, "ndim", 4) in (2, 3):
        return [images]
    return images


def as_picture(image: object) -> Image.Image:
    """Whatever stands for a picture -> PIL, RGB."""
    if isinstance(image, Image.Image):
        return normal(image, "the picture")
    if isinstance(image, bytes):
        return decode(image, "bytes")
    if isinstance(image, str | Path):
        try:
            about = Path(image).stat()
            if stat.S_ISFIFO(about.st_mode):  # reading a pipe would wait for ever
                raise image_error(str(image), "not a regular file")
            if about.st_size > BYTES_LIMIT:
                raise image_error(str(image), too_long(about.st_size))
            return decode(Path(image).read_bytes(), str(image))
        except OSError as error:
            raise DataError(f"cannot read {image}: {error.strerror}; check the path") from None
    pixels = image
    if isinstance(image, Tensor) and image.ndim == 3 and image.is_floating_point() and image.isfinite().all():
        pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[2:] == (3,) and pixels.size:
        return Image.fromarray(pixels)
    kind = f"{type(image).__name__} {tuple(getattr(image, 'shape', ()))}".removesuffix(" ()")
    raise UsageError(f"{kind} is no picture; give a path, bytes, PIL, (H, W, 3) uint8 or (3, H, W) floats in [0, 1]")


def load(student: str | Path) -> Classifier:
    """Load a student: its bundle folder, the run folder that holds it, or ``hf:ORG/NAME@REV`` from the hub.

    Raises:
        DataError: it is no student, or a file of it is missing or was altered. MissingError: the hub has none.
    """
    return Classifier(load_bundle(Path(student)))
