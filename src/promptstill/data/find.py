"""Which files an image source means, and the ids they get: natural order, unique, printable."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from promptstill.data.decode import brief
from promptstill.errors import DataError

SUFFIXES = (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAGIC = re.compile(r"[*?[]")  # marks a pattern


def find(source: Path) -> tuple[Path, list[Path]]:
    """(folder that ids are relative to, files of a known kind) for a folder, a file or a pattern."""
    try:
        if source.is_dir():
            return source, list(_walk(source))
        if source.is_symlink() or source.exists():
            if not kind(source):
                raise DataError(
                    f"{source} is no image source; give a folder, an image, or an unpacked .tar or .parquet"
                )
            return source.parent, [source]
        if not MAGIC.search(str(source)):
            raise DataError(f"{source} does not exist; check the path")
        return _match(source)
    except OSError as error:
        raise DataError(f"{source} cannot be looked at ({brief(error)}); change its permissions") from None


def _match(pattern: Path) -> tuple[Path, list[Path]]:
    """Files of a known kind that match a pattern, or are in a folder that does."""
    root = next(folder for folder in pattern.parents if not MAGIC.search(str(folder)))
    try:
        places = sorted(root.glob(str(pattern.relative_to(root))))
    except ValueError as error:
        raise DataError(f"{pattern} is no pattern ({brief(error)}); check it") from None
    if not places:
        raise DataError(f"{pattern} matches no file; check the pattern")
    files = itertools.chain.from_iterable(_walk(place) if place.is_dir() else [place] for place in places)
    shown = (path for path in files if not any(map(hidden, path.relative_to(root).parts)))
    return root, list(dict.fromkeys(path for path in shown if kind(path)))


def _walk(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Files of a known kind, linked folders included; a link back to a folder we are in is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        for path in sorted(folder.iterdir()):
            if hidden(path.name):
                continue
            if path.is_dir():
                yield from _walk(path, above | {real})
            elif kind(path):
                yield path
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({brief(error)}); change its permissions or move it away") from None


def kind(path: PurePath) -> str:
    """``image``, ``tar``, ``parquet``, or nothing."""
    suffix = path.suffix.lower()
    return "image" if suffix in SUFFIXES else {".tar": "tar", ".parquet": "parquet"}.get(suffix, "")


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is not meant to be seen."""
    return name == "__MACOSX" or name.startswith(".")


def readable(name: str) -> str:
    """A name as text that can be printed and stored: bytes that are no UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sort key in which img2 comes before img10; numbers by length and digits, as they may be of any size."""
    parts = re.split(r"([0-9]+)", name)
    key = [(len(part.lstrip("0")), part.lstrip("0")) if odd % 2 else part for odd, part in enumerate(parts)]
    return key, name


def unique(names: Sequence[str]) -> list[str]:
    """The same names, in order; the second of a name gets ``~2``, and so on."""
    unique: list[str] = []
    given, taken, copies = set(names), set[str](), Counter[str]()
    for name in names:
        new = name
        while new in taken or (new != name and new in given):
            copies[name] += 1
            new = f"{name}~{copies[name] + 1}"
        taken.add(new)
        unique.append(new)
    return unique
