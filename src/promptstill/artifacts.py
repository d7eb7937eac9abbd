"""What a run leaves on disk: the run folder, class vectors, prompts. Written atomically, ``done.json`` last."""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import yaml
from filelock import FileLock, Timeout

from promptstill.config import Settings
from promptstill.errors import DataError, Interrupted, PromptstillError, SpaceError, UsageError

log = logging.getLogger("promptstill")
T = TypeVar("T")

DONE = "done.json"
LOCK = ".lock"  # of the process that works in a run folder; it goes with its process, however that ends
NOT_IDENTITY = {"out", "device", "store"}  # settings that do not make it another run


@contextmanager
def disk_full_is_an_error(folder: Path) -> Generator[None]:
    """Turn ENOSPC into :class:`SpaceError`, so that a full disk reads as one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise SpaceError(f"no space left for {folder}; free some and start the same command again") from None


def write_atomic(path: Path, write: bytes | str | Callable[[Path], object]) -> None:
    """Write a file whole or not at all: a temporary neighbour, flushed to disk, then renamed over ``path``."""
    part = path.with_name(f".{path.name}.part")
    try:
        with disk_full_is_an_error(path.parent):
            if callable(write):
                write(part)
            else:
                part.write_bytes(write.encode() if isinstance(write, str) else write)
            with part.open("rb+") as handle:
                os.fsync(handle.fileno())
            part.replace(path)
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is there to be removed
            part.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """JSON with sorted keys, atomically."""
    write_atomic(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file of ours; a damaged one is named."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{path} is missing or damaged; delete its folder and start the run again") from None


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Run:
    """A run folder: settings, log, metrics, and stages that are done once.

    ``RUN/{config.yaml, run.log, metrics.jsonl, 1-vectors, 2-prompts, 3-images, 4-student, 5-report}``
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings

    @classmethod
    @contextmanager
    def open(cls, folder: Path, settings: Settings) -> Generator[Self]:
        """Create the folder, or continue the run in it.

        Raises:
            UsageError: the folder holds another run, or files that are no run, or another process works in it.
        """
        wanted = settings.model_dump(mode="json", exclude=NOT_IDENTITY)
        there, failed = folder.is_dir(), False
        try:
            with disk_full_is_an_error(folder):
                _claim(folder, wanted)
                lock = FileLock(folder / LOCK)
                lock.acquire(timeout=0)
                handler = _LogFile(folder / "run.log", encoding="utf-8")
        except Timeout:
            raise UsageError(f"another process works in {folder}; wait for it, or choose another --out") from None
        except OSError as error:
            raise UsageError(f"cannot write to {folder} ({error.strerror}); choose another --out") from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            yield cls(folder, settings)
        except PromptstillError as error:
            log.error("%s", error)
            failed = not isinstance(error, Interrupted)
            raise
        finally:
            log.removeHandler(handler)
            with suppress(OSError):  # a full disk has been named already
                handler.close()
                (folder / LOCK).unlink(missing_ok=True)
            if failed:
                _withdraw(folder, keep=there)
            lock.release()

    def once(self, name: str, make: Callable[[Path], dict[str, Any] | None], load: Callable[[Path], T]) -> T:
        """Make a stage's folder unless it is done, then load it.

        ``make`` gets the folder, may find a part of its work there, and returns what to note in ``done.json``.
        """
        folder = self.folder / name
        if not (folder / DONE).is_file():
            folder.mkdir(exist_ok=True)
            log.info("%s: start", name)
            with _stopwatch(folder / "spent.json") as seconds, disk_full_is_an_error(folder):
                notes = make(folder) or {}
                write_json(folder / DONE, notes | {"seconds": round(seconds(), 3)})
            log.info("%s: done in %.1f s", name, seconds())
        return load(folder)

    def metric(self, stage: str, **values: float | int | str) -> None:
        """Append one line to ``metrics.jsonl``."""
        with disk_full_is_an_error(self.folder), (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"time": round(time.time(), 3), "stage": stage} | values) + "\n")

    def notes(self) -> dict[str, dict[str, Any]]:
        """What each finished stage noted, in order: seconds, images, ..."""
        return {path.parent.name: read_json(path) for path in sorted(self.folder.glob(f"[1-5]-*/{DONE}"))}


class _LogFile(logging.FileHandler):
    """Loses a line on a full disk, and does not tell: what the run itself cannot write, it says in one sentence."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing."""


def _claim(folder: Path, wanted: dict[str, Any]) -> None:
    """Make the folder this run's own, unless something else is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    if config.is_file():
        try:
            there = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            there = None
        _refuse_other(folder, there, wanted)
    elif any(p for p in folder.iterdir() if not p.name.endswith(".part")):
        raise UsageError(f"{folder} is not empty and holds no run; choose another --out")
    else:
        write_atomic(config, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))


def _withdraw(folder: Path, *, keep: bool) -> None:
    """Remove a run that failed before it made anything, so that the mended command finds its folder free."""
    if any(p.is_file() and p.name not in ("config.yaml", "run.log", "spent.json", LOCK) for p in folder.rglob("*")):
        return
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not keep:
        folder.rmdir()


@contextmanager
def _stopwatch(path: Path) -> Generator[Callable[[], float]]:
    """Seconds since the block began, plus those of earlier attempts that were stopped (kept in ``path``)."""
    before = float(read_json(path)["seconds"]) if path.is_file() else 0.0
    start = time.perf_counter()

    def seconds() -> float:
        return before + time.perf_counter() - start

    try:
        yield seconds
    except BaseException:
        with suppress(SpaceError, OSError):  # the time of this attempt is lost on a full disk, nothing else
            write_json(path, {"seconds": seconds()})
        raise
    path.unlink(missing_ok=True)


def _refuse_other(folder: Path, there: object, wanted: dict[str, Any]) -> None:
    def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        rows = {}
        for key, value in tree.items():
            rows |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return rows

    if not isinstance(there, dict):
        raise UsageError(f"{folder}/config.yaml is no run's; choose another --out")
    old, new = flat(there), flat(wanted)
    differing = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
    if differing:
        shown = ", ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} here" for k in sorted(differing)[:3])
        raise UsageError(f"{folder} holds another run ({shown}); choose another --out or delete it")


def free_bytes(folder: Path) -> int:
    """Free space on the file system that holds ``folder`` or its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class ClassVectors:
    """Unit-length text features, one row a class, and how they were made. ``vectors`` is (K, D) float32.

    ``members`` are the widths of the parts that D is joined from, if the teacher is an ensemble whose members count as
    much as they are sure of each picture; otherwise there are none.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    scale: float
    templates: tuple[str, ...]
    teacher: str
    teacher_hash: str
    members: tuple[int, ...] = ()

    def save(self, folder: Path) -> None:
        """Write ``vectors.safetensors`` and ``vectors.json``."""
        from safetensors.numpy import save

        rows = np.ascontiguousarray(self.vectors, dtype=np.float32)
        write_atomic(folder / "vectors.safetensors", save({"vectors": rows}))
        about = {k: getattr(self, k) for k in ("names", "scale", "templates", "teacher", "teacher_hash", "members")}
        write_json(folder / "vectors.json", about | {"sha256": sha256(folder / "vectors.safetensors")})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder written by :meth:`save`; an altered file is refused."""
        from safetensors.numpy import load_file

        about = read_json(folder / "vectors.json")
        path = folder / "vectors.safetensors"
        if not path.is_file() or sha256(path) != about.pop("sha256"):
            raise DataError(f"{path} is missing or was altered; make the class vectors again")
        rows = {key: tuple(about.pop(key, ())) for key in ("names", "templates", "members")}
        return cls(vectors=load_file(path)["vectors"], **rows, **about)

    def select(self, names: tuple[str, ...]) -> Self:
        """The rows of ``names``, in that order."""
        rows = [self.names.index(name) for name in names]
        return replace(self, names=names, vectors=self.vectors[rows])


@dataclass(frozen=True)
class Prompts:
    """What steers each surrogate image: its class (N,), its text, and its unit-length text embedding (N, D).

    ``details`` say what each was made of: mixed styles and shares, or the length of its pseudo-word.
    """

    labels: np.ndarray
    texts: tuple[str, ...]
    embeddings: np.ndarray
    details: tuple[dict[str, Any], ...]

    def take(self, rows: Sequence[int]) -> Self:
        """Some of the prompts, in this order."""
        texts, details = tuple(self.texts[row] for row in rows), tuple(self.details[row] for row in rows)
        return type(self)(self.labels[list(rows)], texts, self.embeddings[list(rows)], details)

    def save(self, folder: Path) -> None:
        """Write ``prompts.safetensors`` and ``prompts.jsonl`` (one line a prompt, to read)."""
        from safetensors.numpy import save

        columns = zip(self.labels, self.texts, self.details, strict=True)
        lines = (json.dumps({"class": int(label), "text": text} | made) for label, text, made in columns)
        write_atomic(folder / "prompts.jsonl", "".join(line + "\n" for line in lines))
        arrays = {"labels": self.labels.astype(np.int64), "embeddings": self.embeddings.astype(np.float32)}
        write_atomic(folder / "prompts.safetensors", save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder written by :meth:`save`."""
        from safetensors.numpy import load_file

        arrays = load_file(folder / "prompts.safetensors")
        rows = [json.loads(row) for row in (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
        details = tuple({k: v for k, v in row.items() if k not in ("class", "text")} for row in rows)
        return cls(arrays["labels"], tuple(row["text"] for row in rows), arrays["embeddings"], details)


@dataclass(frozen=True)
class Report:
    """What was asked, what came out, what it cost, and how to recompute it; ``RUN/5-report/report.json``."""

    content: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write ``report.json``."""
        write_json(folder / "report.json", self.content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``report.json``."""
        return cls(read_json(folder / "report.json"))
