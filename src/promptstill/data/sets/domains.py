"""The data sets of domain generalisation and adaptation: folders or lists, every domain whole, classes by name.

A domain is read from its list files if there are any (``photo_train_kfold.txt``, ``art_painting_all.txt``, ``c.txt``,
``validation/image_list.txt``), else from its folder (``DOMAIN/CLASS/*``, with or without ``train``, ``crossval``,
``test`` between). Parts of a domain are put together: there is no training split, a domain is tested whole.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from promptstill.data.images import listed_images, open_images
from promptstill.data.sets.base import Labelled, Split, key
from promptstill.data.sets.coop import read_lines
from promptstill.errors import DataError

PARTS = ("train", "crossval", "val", "validation", "test")
Row = tuple[str, str]  # path below the root, name of its class


@dataclass(frozen=True)
class DomainSet:
    """Domains by our name with the other names they go by; classes in the published order, where data have numbers."""

    title: str
    folder: str
    domains: dict[str, tuple[str, ...]]
    classes: tuple[str, ...] = ()


def _plain(*names: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names, ())


DOMAIN_SETS = {
    "pacs": DomainSet(
        "PACS",
        "PACS",
        {"photo": (), "art painting": ("art",), "cartoon": (), "sketch": ()},
        ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person"),
    ),
    "vlcs": DomainSet(
        "VLCS",
        "VLCS",
        {"VOC2007": ("PASCAL", "VOC", "V"), "LabelMe": ("L",), "Caltech101": ("CALTECH", "C"), "SUN09": ("SUN", "S")},
        ("bird", "car", "chair", "dog", "person"),
    ),
    "imageclef-da": DomainSet(
        "ImageCLEF-DA",
        "image_CLEF",
        {"Caltech": ("c",), "ImageNet": ("i",), "Pascal": ("p",)},
        (
            "aeroplane",
            "bike",
            "bird",
            "boat",
            "bottle",
            "bus",
            "car",
            "dog",
            "horse",
            "monitor",
            "motorbike",
            "people",
        ),
    ),
    "visda-2017": DomainSet(
        "VisDA-2017",
        "visda17",
        {"synthetic": ("train",), "real": ("validation",)},
        (
            "aeroplane",
            "bicycle",
            "bus",
            "car",
            "horse",
            "knife",
            "motorcycle",
            "person",
            "plant",
            "skateboard",
            "train",
            "truck",
        ),
    ),
    "officehome": DomainSet("OfficeHome", "office_home", _plain("Art", "Clipart", "Product", "Real World")),
    "domainnet": DomainSet(
        "DomainNet", "domain_net", _plain("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    ),
}


def read_domains(which: DomainSet, root: Path, split: Split) -> Labelled:
    """Every domain of a set, whole.

    Raises:
        DataError: a split other than ``test``; a domain, an image or a class name that is not there or contradicts.
    """
    if split != "test":
        raise DataError(f"{which.title} has no split {split!r} here: no image of it is trained on, domains are whole")
    root = root / which.folder if (root / which.folder).is_dir() else root
    if not root.is_dir():
        raise DataError(f"folder {root} does not exist; give the folder of {which.title}")
    listed = {title: _lists(root, which, title) for title in which.domains}
    entries = {title: _entries(root, which, title, files) for title, files in listed.items() if files}
    folders = {title: _folder_rows(root, which, title) for title in which.domains if title not in entries}
    listed_numbers = {number for rows in entries.values() for _, number in rows}
    found = {title: _named(rows, which, listed_numbers) for title, rows in entries.items()}
    found |= _unnumbered({title: rows for title, rows in folders.items() if rows}, which)
    return _gather(which, root, {title: found[title] for title in which.domains if title in found})


def _gather(which: DomainSet, root: Path, found: dict[str, list[Row]]) -> Labelled:
    if not found:
        wanted = ", ".join(which.domains)
        raise DataError(f"{root} has no domain of {which.title} ({wanted}), as a folder or a list; check the path")
    seen = sorted({name for rows in found.values() for _, name in rows})
    proper = {key(name): name for name in (which.classes or seen)}
    strange = next((name for name in seen if key(name) not in proper), None)
    if strange:
        raise DataError(f"{strange!r} is no class of {which.title} ({', '.join(which.classes)}); move it away")
    classes = tuple(proper.values())
    place = {name: i for i, name in enumerate(proper)}
    paths = [path for rows in found.values() for path, _ in rows]
    labels = tuple(place[key(name)] for rows in found.values() for _, name in rows)
    domains = tuple(title for title, rows in found.items() for _ in rows)
    return Labelled(which.title, listed_images(root, paths), classes, labels, domains)


# ----------------------------------------------------------------------------------------------------------- lists


def _lists(root: Path, which: DomainSet, title: str) -> list[Path]:
    """The list files of one domain: its ``all`` list alone if there is one, else every other."""
    folders = [p for p in (root, root / "splits", root / "image_list", root / "lists", root / "txt") if p.is_dir()]
    names = {_tight(name) for name in (title, *which.domains[title])}
    found = {file: _tail(file.stem, names) for folder in folders for file in sorted(folder.glob("*.txt"))}
    found = {file: tail for file, tail in found.items() if tail is not None}
    inner = _domain_folder(root, which, title)
    if inner and (inner / "image_list.txt").is_file():
        found[inner / "image_list.txt"] = ""
    whole = [file for file, tail in found.items() if tail in ("", "all")]
    return whole[:1] or list(found)


def _tail(stem: str, names: set[str]) -> str | None:
    """What is left of a list's name after the domain's: a part, ``all`` or nothing; None if it is another's."""
    words = [w for w in re.split(r"[_\-\s]+|(?<=[a-z])(?=[A-Z])", stem) if w]
    for cut in range(len(words), 0, -1):
        if _tight("".join(words[:cut])) in names:
            left = [w.lower() for w in words[cut:] if w.lower() not in ("kfold", "list")]
            return left[0] if len(left) == 1 and left[0] in (*PARTS, "all") else ("" if not left else None)
    return None


def _entries(root: Path, which: DomainSet, title: str, files: Sequence[Path]) -> list[tuple[str, int]]:
    """(path below the root, number) of every listed image, each once, wherever the list was written."""
    rows: dict[str, int] = {}
    for file in files:
        pairs = [line.rsplit(maxsplit=1) for line in read_lines(file)]
        bad = next((n for n, pair in enumerate(pairs, 1) if len(pair) != 2 or not pair[1].isdigit()), None)
        if bad:
            raise DataError(f"{file} line {bad} is not 'path number'; get the list again")
        at = _anchor(root, [path for path, _ in pairs], which, title, file)
        for path, number in pairs:
            where = str(at(path))
            if rows.setdefault(where, int(number)) != int(number):
                raise DataError(f"{file} gives {where} the class {number}, another list {rows[where]}; mend the lists")
    return list(rows.items())


class _Anchor:
    """Puts listed paths below the root: their first ``drop`` folders were those of another machine."""

    def __init__(self, drop: int, base: PurePosixPath) -> None:
        self.drop, self.base = drop, base

    def __call__(self, path: str) -> PurePosixPath:
        return self.base.joinpath(*_parts(path)[self.drop :])


def _anchor(root: Path, paths: Sequence[str], which: DomainSet, title: str, file: Path) -> _Anchor:
    """The longest ending of the first listed path that is a file, below any of the usual places; all must be there."""
    own = _domain_folder(root, which, title)
    bases = [PurePosixPath(""), PurePosixPath("images"), PurePosixPath("kfold")]
    bases += [PurePosixPath(own.relative_to(root).as_posix())] if own else []
    for drop in range(len(_parts(paths[0])) if paths else 0):
        for base in bases:
            anchor = _Anchor(drop, base)
            if (root / anchor(paths[0])).is_file():
                lost = [path for path in paths if not (root / anchor(path)).is_file()]
                if lost:
                    raise DataError(f"{root} lacks {len(lost)} images of {file.name}, first {lost[0]}; unpack it again")
                return anchor
    raise DataError(f"{file} lists no image that is below {root}; give the folder that holds images and lists")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(p for p in path.replace("\\", "/").split("/") if p not in ("", ".", ".."))


def _named(rows: Iterable[tuple[str, int]], which: DomainSet, numbers_seen: Collection[int]) -> list[Row]:
    """Classes by the folder that an image stands in; by the number only where folders have no names.

    ``numbers_seen`` are those of all lists of the set: they tell whether its first class is 0 or 1.
    """
    known = {key(name) for name in which.classes}
    found: list[Row] = []
    numbers: dict[int, str] = {}
    for path, number in rows:
        folder = PurePosixPath(path).parent.name
        by_folder = key(folder) in known if known else not folder.isdigit()
        name = folder if by_folder else _by_number(number - _first(numbers_seen, which), which, path)
        if key(numbers.setdefault(number, name)) != key(name):
            raise DataError(f"{path} is class {number}, which is {numbers[number]!r} elsewhere; mend the list")
        found.append((path, name))
    return found


def _first(numbers: Collection[int], which: DomainSet) -> int:
    """The number of the first class, 0 or 1, from all the numbers that occur.

    Raises:
        DataError: they fit both.
    """
    if 0 in numbers:
        return 0
    if len(which.classes) in numbers:
        return 1
    raise DataError(
        f"{which.title} is numbered {min(numbers)} to {max(numbers)} here, which does not tell whether its first of "
        f"{len(which.classes)} classes is 0 or 1; call the class folders by their names"
    )


def _by_number(number: int, which: DomainSet, path: str) -> str:
    if not 0 <= number < len(which.classes):
        raise DataError(f"{path} has class number {number} of {which.title}, which has {len(which.classes)} classes")
    return which.classes[number]


# --------------------------------------------------------------------------------------------------------- folders


def _domain_folder(root: Path, which: DomainSet, title: str) -> Path | None:
    """The folder of a domain under any of its names, in the root or in its ``images/`` or ``kfold/``."""
    names = {_tight(name) for name in (title, *which.domains[title])}
    for place in (root, root / "images", root / "kfold"):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_dir() and _tight(path.name) in names:
                return path
    return None


def _folder_rows(root: Path, which: DomainSet, title: str) -> list[Row]:
    """Images of one domain by the class folder they stand in, through ``train``, ``test``, ... if these are between."""
    folder = _domain_folder(root, which, title)
    if folder is None:
        return []
    inner = sorted(p.name for p in folder.iterdir() if p.is_dir())
    if inner and set(inner) <= {*PARTS, "full"}:
        places = [folder / "full"] if "full" in inner else [folder / name for name in inner]
    else:
        places = [folder]
    rows: list[Row] = []
    for place in places:
        for name in open_images(place).ids:
            parts = PurePosixPath(name).parts
            if len(parts) != 2:
                raise DataError(f"{place / name} does not stand in a class folder; {which.title} needs lists then")
            rows.append((str(PurePosixPath(place.relative_to(root).as_posix(), name)), parts[0]))
    return rows


def _unnumbered(found: dict[str, list[Row]], which: DomainSet) -> dict[str, list[Row]]:
    """Domains whose class folders are called 0, 1, ... (or 1, 2, ...) get the names of the published order."""
    numbered = [title for title, rows in found.items() if which.classes and all(name.isdigit() for _, name in rows)]
    numbers = {int(name) for title in numbered for _, name in found[title]}
    first = _first(numbers, which) if numbers else 0
    return found | {
        title: [(path, _by_number(int(name) - first, which, path)) for path, name in found[title]] for title in numbered
    }


def _tight(name: str) -> str:
    return key(name).replace(" ", "")
