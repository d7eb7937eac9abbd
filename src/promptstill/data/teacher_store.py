"""The teacher store: image embeddings of every (image, view), fp16, on disk, computed once.

Embeddings, not logits: one build serves every class list, temperature, seed of training and student.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from promptstill.artifacts import DONE, read_json, write_json
from promptstill.data.images import fingerprint
from promptstill.data.views import Views
from promptstill.engine import Stopper, progress
from promptstill.errors import DataError

BATCH = 64


class TeacherStore:
    """Memory-mapped embeddings (N, V, D)."""

    def __init__(self, folder: Path) -> None:
        about = read_json(folder / DONE)
        self.embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
        if list(self.embeddings.shape) != about["shape"]:
            raise DataError(f"{folder} is damaged: {self.embeddings.shape} where {about['shape']} was built; delete it")

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

    A build that was stopped goes on at the batch where it stopped.
    """
    if (folder / DONE).is_file():
        return TeacherStore(folder)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(start, number) for start in range(0, len(views), BATCH) for number in range(count)]
    part, marker = folder / "embeddings.npy", folder / "progress.json"
    done = int(read_json(marker)["jobs"]) if marker.is_file() and part.is_file() else 0
    rows = np.load(part, mmap_mode="r+") if done else None
    with progress("teacher store", len(jobs), done) as ticker:
        for at, (start, number) in enumerate(jobs[done:], start=done):
            indices = range(start, min(start + BATCH, len(views)))
            with torch.no_grad():
                embedded = encode(views.batch(indices, number)).cpu().numpy().astype(np.float16)
            if rows is None:
                shape = (len(views), count, embedded.shape[1])
                rows = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
            rows[start : start + BATCH, number] = embedded
            ticker.advance()
            if at % 50 == 49:
                _flush(rows, marker, at + 1)
                stopper.check()
    assert rows is not None
    rows.flush()
    write_json(folder / DONE, {"shape": list(rows.shape), "views": count})
    marker.unlink(missing_ok=True)
    return TeacherStore(folder)


def _flush(rows: np.ndarray, marker: Path, jobs: int) -> None:
    assert isinstance(rows, np.memmap)
    rows.flush()
    write_json(marker, {"jobs": jobs})
