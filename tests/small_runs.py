"""Small real runs that several tests need: pictures under any name, and one distillation."""

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from promptstill.artifacts import ClassVectors
from promptstill.data.images import Images
from promptstill.engine import Stopper, make_fabric
from promptstill.errors import Interrupted
from promptstill.models.clip import Clip
from promptstill.models.student import Head, Student, make_student
from promptstill.settings import Distill, Vectors
from promptstill.stages.distill import Judge, distill, prepare
from promptstill.stages.teach import class_vectors

CLASSES = ("dog", "cat", "hot_air balloon")
Metric = Callable[..., None]


@dataclass(frozen=True)
class Renamed:
    """The same images under other ids."""

    images: Images
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def data(self, index: int) -> bytes:
        return self.images.data(index)

    def read(self, index: int) -> Image.Image:
        return self.images.read(index)


class StopAfter(Stopper):
    """A stopper that is asked to stop at its n-th safe point, as a signal would."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    def check(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Interrupted("stopped by a test; the same command continues this run")


def as_tar(folder: Path, path: Path) -> Path:
    """The pictures of a folder as one tar file."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return path


def as_parquet(folder: Path, path: Path) -> Path:
    """The pictures of a folder as one parquet file."""
    cells = [{"bytes": file.read_bytes(), "path": file.name} for file in sorted(folder.iterdir())]
    pq.write_table(pa.table({"image": cells}), path)
    return path


def as_png(picture: Image.Image) -> bytes:
    """A picture's PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def vectors_of(clip: Clip, names: Sequence[str] = CLASSES) -> ClassVectors:
    """Class vectors of a few names."""
    return class_vectors(clip, tuple(names), Vectors())


def distilled(
    clip: Clip,
    images: Images,
    folder: Path,
    *,
    student: str = "timm:test_byobnet",
    stopper: Stopper | None = None,
    metric: Metric = lambda *_, **__: None,
    judge: Judge | None = None,
    **settings: Any,
) -> Student:
    """Distil a student with small settings; ``folder/student`` is its bundle, ``folder/store`` the teacher store.

    With ``store=False`` the teacher looks at every batch itself.
    """
    place = folder / "store" if settings.pop("store", True) else None
    precision = settings.pop("precision", "32-true")
    small: dict[str, Any] = {"epochs": 3, "views": 2, "batch_size": 4}
    chosen = Distill(**(small | settings))
    stopper = stopper or Stopper()
    head = None if chosen.target == "embedding" else Head(chosen.target, len(CLASSES))
    learner = make_student(student, clip, None, None, seed=3, head=head)
    lesson = prepare(clip, learner, images, vectors_of(clip), chosen, 5, place, stopper)
    (folder / "student").mkdir(parents=True, exist_ok=True)
    distill(learner, lesson, make_fabric("cpu", precision), folder / "student", stopper, metric, judge)
    return learner
