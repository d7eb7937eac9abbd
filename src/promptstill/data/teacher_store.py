"""The teacher store: image embeddings of every (image, view), fp16, on disk, computed once.

Embeddings, not logits: one build serves every class list, temperature, seed of training and student. More views later
are added to those that are there. Several processes may share a folder: one builds, the others wait for it.

``ROOT/KEY/{about.json, views-0-5.npy, views-0-5.json, views-5-20.npy, ...}``; a part's JSON file is written last.
"""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from promptstill.artifacts import disk_full_is_an_error, log, read_json, write_json
from promptstill.data.index import fingerprint
from promptstill.data.views import Views
from promptstill.engine import Stopper, ahead, progress
from promptstill.errors import DataError, SpaceError, UsageError

BATCH = 64  # views that go through the teacher together
SAFE_POINT = 50  # batches
Encode = Callable[[Tensor], Tensor]  # (B, 3, S, S) in [0, 1] -> (B, D)


@dataclass(frozen=True)
class TeacherStore:
    """Memory-mapped embeddings: parts (N, V_i, D) that follow each other along the views."""

    parts: tuple[np.ndarray, ...]

    def rows(self, indices: Tensor, number: int) -> Tensor:
        """The stored rows (B, D) of view ``number`` of some images, float32."""
        for part in self.parts:
            if number < part.shape[1]:
                return torch.from_numpy(np.asarray(part[indices.numpy(), number], dtype=np.float32))
            number -= part.shape[1]
        raise IndexError(number)

    def batch(self, indices: Tensor, number: int) -> Tensor:
        """Unit embeddings (B, D) float32 of view ``number`` of some images."""
        return torch.nn.functional.normalize(self.rows(indices, number), dim=-1)


@dataclass(frozen=True)
class LiveTeacher:
    """The teacher itself in the store's place: it looks at every view anew."""

    views: Views
    encode: Encode

    @torch.no_grad()
    def batch(self, indices: Tensor, number: int) -> Tensor:
        """Unit embeddings (B, D) float32 of view ``number`` of some images."""
        embedded = self.encode(self.views.batch(indices.tolist(), number)).float()
        return torch.nn.functional.normalize(embedded, dim=-1)


def open_store(root: Path, views: Views, count: int, encode: Encode, encoder: str, stopper: Stopper) -> TeacherStore:
    """The store of ``count`` views of every image under ``root``; what is missing of it is built with ``encode``.

    ``encoder`` is the hash of what encodes. A build that was stopped goes on where it stopped; a file that was cut
    short is made again.

    Raises:
        UsageError: ``root`` cannot be written. DataError: what is in its place was made of something else.
    """
    facts = store_facts(views, encoder)
    folder = root / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    parts = list(_finished(folder, facts))
    if sum(part.shape[1] for part in parts) < count:
        with _claimed(folder, stopper):
            write_json(folder / "about.json", facts)
            parts = list(_finished(folder, facts))  # another may have built in the meantime
            built = sum(part.shape[1] for part in parts)
            if built < count:
                parts.append(_build(folder, views, range(built, count), encode, stopper))
    return TeacherStore(tuple(parts))


def store_facts(views: Views, encoder: str) -> dict[str, Any]:
    """What the content of a store depends on: images, views, what encodes and its input."""
    seen = {name: getattr(views, name) for name in ("seed", "crop", "flip", "size", "interpolation")}
    return seen | {"images": fingerprint(views.images), "encoder": encoder}


@contextmanager
def _claimed(folder: Path, stopper: Stopper) -> Generator[None]:
    """Be the only process that builds in ``folder``; the lock goes with its process, however that ends."""
    lock = FileLock(folder / ".lock")
    try:
        with disk_full_is_an_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            while not lock.is_locked:
                try:
                    lock.acquire(timeout=1)
                except Timeout:
                    log.info("another process builds %s: waiting", folder)
                    stopper.check()
    except OSError as error:
        raise UsageError(f"cannot keep a teacher store in {folder} ({error.strerror}); choose another place") from None
    try:
        yield
    finally:
        lock.release()


def _finished(folder: Path, facts: dict[str, Any]) -> Iterator[np.ndarray]:
    """The parts that are whole, from view 0 on without a gap."""
    if not (folder / "about.json").is_file():
        return
    there, at = read_json(folder / "about.json"), 0
    if there != facts:
        differing = ", ".join(sorted(name for name in facts if there.get(name) != facts[name]))
        raise DataError(f"{folder} was made of something else ({differing} differs); delete it or use another store")
    found = {_start(path): path for path in folder.glob("views-*.json")}
    while at in found:
        rows = _open(found[at].with_suffix(".npy"), "r", read_json(found[at])["shape"])
        if rows is None:
            return
        yield rows
        at += rows.shape[1]


def _start(part: Path) -> int:
    return int(part.name.split("-")[1])


def _build(folder: Path, views: Views, numbers: range, encode: Encode, stopper: Stopper) -> np.ndarray:
    """Embed the views ``numbers`` of every image; images in order, so that each is decoded once for all its views."""
    path = folder / f"views-{numbers.start}-{numbers.stop}.npy"
    for other in set(folder.glob("views-*")) - {path, path.with_suffix(".progress")}:
        if _start(other) >= numbers.start:
            other.unlink()  # damaged, or begun for another number of views and never finished
    pairs, marker = len(views) * len(numbers), path.with_suffix(".progress")
    begun: dict[str, Any] = read_json(marker) if marker.is_file() else {"pairs": 0, "shape": None}
    rows = _open(path, "r+", begun["shape"])
    done = 0 if rows is None else int(begun["pairs"])
    starts = range(done, pairs, BATCH)
    batches = ahead(views.every(numbers, done, BATCH))
    with progress("teacher store", pairs, done) as ticker:
        for at, (start, batch) in enumerate(zip(starts, batches, strict=True)):
            with torch.no_grad():
                embedded = encode(batch).cpu().numpy().astype(np.float16)
            if rows is None:
                rows = _create(path, (len(views), len(numbers), embedded.shape[1]))
            rows.reshape(pairs, -1)[start : start + BATCH] = embedded
            ticker.advance(len(embedded))
            if at % SAFE_POINT == SAFE_POINT - 1:
                _flush(rows, marker, start + len(embedded))
                stopper.check()
    assert isinstance(rows, np.memmap)
    rows.flush()
    write_json(path.with_suffix(".json"), {"shape": list(rows.shape)})
    marker.unlink(missing_ok=True)
    return rows


def _open(path: Path, mode: Literal["r", "r+"], shape: list[int] | None) -> np.ndarray | None:
    """The stored array, or nothing if the file is missing, cut short, or of another shape."""
    try:
        rows = np.load(path, mmap_mode="r")  # refuses a file that is too short, which "r+" would fill up with zeros
        if list(rows.shape) != shape:
            return None
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


def _flush(rows: np.ndarray, marker: Path, pairs: int) -> None:
    assert isinstance(rows, np.memmap)
    rows.flush()
    write_json(marker, {"pairs": pairs, "shape": list(rows.shape)})
