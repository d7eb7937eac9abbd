"""Which images of a source are used: checked once, then written down so that a later run reads the very same."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from promptstill.artifacts import write_atomic
from promptstill.data.images import Images, subset
from promptstill.data.labelled import open_unlabeled
from promptstill.errors import DataError, UsageError


@dataclass(frozen=True)
class Rejected:
    """An image that is left out, and why."""

    id: str
    reason: str


def check_images(
    images: Images, *, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> tuple[Images, tuple[Rejected, ...]]:
    """Decode every image once; keep the good, name the bad with the reason. ``DataError`` if none is left."""
    keep: list[int] = []
    rejected: list[Rejected] = []
    for index in progress(range(len(images))):
        try:
            images.read(index)
            keep.append(index)
        except DataError as error:
            rejected.append(Rejected(images.ids[index], getattr(error, "reason", "") or str(error)))
    if not keep:
        first = f", the first ({rejected[0].id}) because: {rejected[0].reason}" if rejected else ""
        raise DataError(f"none of {len(images)} images can be used{first}; check the image source")
    return (subset(images, keep) if rejected else images), tuple(rejected)


def fingerprint(images: Images) -> str:
    """sha256 (hex) over the ids and the encoded bytes of all images, in order; reads every byte."""
    total = hashlib.sha256()
    for index, name in enumerate(images.ids):
        total.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(images.data(index)).digest())
    return total.hexdigest()


def save_index(images: Images, rejected: Iterable[Rejected], folder: Path) -> None:
    """Write ``folder/index.jsonl``: the source, then each image with the sha256 of its bytes, then the rejected.

    ``UsageError`` if the images did not come from ``open_unlabeled`` and so cannot be opened again.
    """
    source = getattr(images, "source", "")
    if not source:
        raise UsageError("only images from a source that can be opened again have an index; use open_images")
    lines: list[dict[str, str]] = [{"source": source}]
    for index, name in enumerate(images.ids):
        lines.append({"id": name, "sha256": hashlib.sha256(images.data(index)).hexdigest()})
    lines += [{"id": bad.id, "rejected": bad.reason} for bad in rejected]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "index.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def load_index(folder: Path) -> tuple[Images, tuple[Rejected, ...]]:
    """The very images of ``save_index``, in the same order, and the rejected; files added since are ignored.

    Reads every byte once. ``DataError`` names the first image that vanished or changed, or a damaged index.
    """
    source, hashes, rejected = _read_index(folder / "index.jsonl")
    images = open_unlabeled(source)
    position = {name: index for index, name in enumerate(images.ids)}
    for name, wanted in hashes.items():
        if name not in position:
            _moved(name, source, "vanished")
        if hashlib.sha256(images.data(position[name])).hexdigest() != wanted:
            _moved(name, source, "changed")
    return subset(images, [position[name] for name in hashes]), rejected


def _read_index(path: Path) -> tuple[str, dict[str, str], tuple[Rejected, ...]]:
    try:
        first, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        hashes = {line["id"]: line["sha256"] for line in lines if "sha256" in line}
        return first["source"], hashes, tuple(Rejected(x["id"], x["rejected"]) for x in lines if "rejected" in x)
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path} is missing or damaged; delete its folder and start the run again") from None


def _moved(name: str, source: str, what: str) -> NoReturn:
    raise DataError(f"{name} in {source} has {what} since this run began; put it back or start a run in another folder")
