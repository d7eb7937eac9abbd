"""The teacher store: image embeddings of every (image, view), fp16, on disk, computed once.

Embeddings, not logits: one build serves every class list, temperature, seed of training and student.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from promptstill.artifacts import DONE, disk_full_is_an_error, read_json, write_json
from promptstill.data.index import fingerprint
from promptstill.data.views import Views
from promptstill.engine import Stopper, progress
from promptstill.errors import DataError, SpaceError

BATCH = 64


class TeacherStore:
    """Memory-mapped embeddings (N, V, D)."""

    def __init__(self, folder: Path) -> None:
        rows = _open(folder / "embeddings.npy", "r")
        if rows is None or list(rows.shape) != read_json(folder / DONE)["shape"]:
            raise DataError(f"{folder} is damaged; delete it and start the run again")
        self.embeddings = rows

    def batch(self, indices: Tensor, number: int) -> Tensor:
        """Unit embeddings (B, D) float32 of view ``number`` of some images."""
        rows = np.asarray(self.embeddings[indices.numpy(), number], dtype=np.float32)
        return torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1)


def store_key(views: Views, count: int, teacher_hash: str) -> str:
    """What a store depends on: the images' content, the views, the teacher's weights and input."""
    facts = [fingerprint(views.images), views.seed, views.crop, views.flip, views.size, views.interpolation, count]
    return hashlib.sha256(json.dumps([*facts, teacher_hash]).encode()).hexdigest()[:16]


def build_store(
    folder: Path, views: Views, count: int, encode: Callable[[Tensor], Tensor], stopper: Stopper
) -> TeacherStore:
    """Embed ``count`` views of every image with ``encode`` ((B, 3, S, S) in [0, 1] -> (B, D)).

    A build that was stopped goes on at the batch where it stopped; a file that was cut short is made again.
    """
    part, marker, finished = (folder / name for name in ("embeddings.npy", "progress.json", DONE))
    if finished.is_file() and _open(part, "r") is not None:
        return TeacherStore(folder)
    finished.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(start, number) for start in range(0, len(views), BATCH) for number in range(count)]
    rows = _open(part, "r+") if marker.is_file() else None
    done = 0 if rows is None else int(read_json(marker)["jobs"])
    with progress("teacher store", len(jobs), done) as ticker:
        for at, (start, number) in enumerate(jobs[done:], start=done):
            indices = range(start, min(start + BATCH, len(views)))
            with torch.no_grad():
                embedded = encode(views.batch(indices, number)).cpu().numpy().astype(np.float16)
            if rows is None:
                rows = _create(part, (len(views), count, embedded.shape[1]))
            rows[start : start + BATCH, number] = embedded
            ticker.advance()
            if at % 50 == 49:
                _flush(rows, marker, at + 1)
                stopper.check()
    assert rows is not None
    _flush(rows, marker, len(jobs))
    write_json(finished, {"shape": list(rows.shape), "views": count})
    marker.unlink(missing_ok=True)
    return TeacherStore(folder)


def _open(path: Path, mode: Literal["r", "r+"]) -> np.ndarray | None:
    """The stored array, or nothing if the file is missing or cut short."""
    try:
        rows = np.load(path, mmap_mode="r")  # refuses a file that is too short, which "r+" would fill up with zeros
        return rows if mode == "r" else np.load(path, mmap_mode=mode)
    except (OSError, ValueError, EOFError):
        return None


def _create(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """A new array with its space on disk taken at once: a mapped page without space would end the process unheard."""
    try:
        with disk_full_is_an_error(path.parent):
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
            if hasattr(os, "posix_fallocate"):
                with path.open("rb+") as handle:
                    os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
            return rows
    except SpaceError:
        path.unlink(missing_ok=True)
        raise


def _flush(rows: np.ndarray, marker: Path, jobs: int) -> None:
    assert isinstance(rows, np.memmap)
    rows.flush()
    write_json(marker, {"jobs": jobs})
