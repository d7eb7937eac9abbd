"""The eleven data sets of prompt learning and four variants of ImageNet, in the layout that CoOp made common.

``DATA/caltech-101/split_zhou_Caltech101.json`` and the like; ImageNet and its variants are scanned. A URI names the
set's own folder or the folder that holds all of them. Names are those of CoOp's lists, also where a list has raw ones.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptstill.data.images import listed_images
from promptstill.data.sets.base import Labelled, Split, key
from promptstill.data.templates import DATASET_TEMPLATES, PLAIN
from promptstill.errors import DataError

Row = tuple[str, int, str]  # path, number of its class, name of its class


@dataclass(frozen=True)
class ListedSet:
    """A set whose splits stand in ``split_zhou_<title>.json``; paths there are relative to ``images``."""

    title: str  # as the papers' code calls it
    folder: str
    images: str


LISTED = {
    "caltech101": ListedSet("Caltech101", "caltech-101", "101_ObjectCategories"),
    "oxford-pets": ListedSet("OxfordPets", "oxford_pets", "images"),
    "stanford-cars": ListedSet("StanfordCars", "stanford_cars", "."),
    "oxford-flowers": ListedSet("OxfordFlowers", "oxford_flowers", "jpg"),
    "food101": ListedSet("Food101", "food-101", "images"),
    "sun397": ListedSet("SUN397", "sun397", "SUN397"),
    "dtd": ListedSet("DescribableTextures", "dtd", "images"),
    "eurosat": ListedSet("EuroSAT", "eurosat", "2750"),
    "ucf101": ListedSet("UCF101", "ucf101", "UCF-101-midframes"),
}

CALTECH = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}
CALTECH_DROPPED = ("BACKGROUND_Google", "Faces_easy")
EUROSAT = {
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "SeaLake": "Sea or Lake",
}


def _year_first(name: str) -> str:
    """``Acura RL Sedan 2012`` -> ``2012 Acura RL Sedan``."""
    return re.sub(r"^(\D.*) (\d{4})$", r"\2 \1", name)


def _scene(name: str) -> str:
    """``/a/apse/indoor`` -> ``indoor apse``."""
    parts = name.strip("/").split("/")
    return " ".join(reversed(parts[1:] if len(parts[0]) == 1 else parts))


def _spaced(name: str) -> str:
    """``ApplyEyeMakeup`` -> ``Apply_Eye_Makeup``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)


FIXES: dict[str, Callable[[str], str]] = {
    "Caltech101": lambda name: CALTECH.get(name, name),
    "EuroSAT": lambda name: EUROSAT.get(name, name),
    "OxfordPets": str.lower,
    "StanfordCars": _year_first,
    "SUN397": _scene,
    "UCF101": _spaced,
}


def read_listed(which: ListedSet, root: Path, split: Split) -> Labelled:
    """One split of a set with a ``split_zhou`` list.

    Raises:
        DataError: the list or an image is missing, or the list contradicts itself.
    """
    folder = find_root(root, which.folder, f"split_zhou_{which.title}.json")
    rows = _read_json(folder / f"split_zhou_{which.title}.json")
    if split not in rows:
        raise DataError(f"{folder} lists no split {split!r}, only {', '.join(rows)}; get the published list")
    fix = FIXES.get(which.title, str)
    every = {part: [(p, n, fix(c)) for p, n, c in rows[part] if c not in CALTECH_DROPPED] for part in rows}
    return labelled(which.title, folder / which.images, every[split], class_names(every, folder))


def read_aircraft(root: Path, split: Split) -> Labelled:
    """FGVC Aircraft: ``variants.txt``, and ``images_variant_<split>.txt`` with lines ``image-id variant``."""
    folder = find_root(root, "fgvc_aircraft", "variants.txt", "data", "fgvc-aircraft-2013b/data")
    classes = tuple(line.strip() for line in read_lines(folder / "variants.txt"))
    number = {name: i for i, name in enumerate(classes)}
    rows: list[Row] = []
    for line in read_lines(folder / f"images_variant_{split}.txt"):
        image, _, name = line.strip().partition(" ")
        if name not in number:
            raise DataError(f"images_variant_{split}.txt names {name!r}, which variants.txt does not; get both again")
        rows.append((f"{image}.jpg", number[name], name))
    return labelled("FGVCAircraft", folder / "images", rows, classes)


def find_root(root: Path, folder: str, mark: str, *inner: str) -> Path:
    """The place that has ``mark``: ``root``, its ``folder``, or one of the ``inner`` places of either.

    Raises:
        DataError: there is none.
    """
    for base in (root, root / folder):
        for place in (base, *(base / name for name in inner)):
            if (place / mark).exists():
                return place
    raise DataError(f"{root} has no {mark}; give the folder {folder}/ that has it, or read plain folders by dir:PATH")


def read_lines(path: Path) -> list[str]:
    """The lines of a list file that are not blank; ``DataError`` if it cannot be read."""
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{path} is missing or no text; get the data set's list file again") from None


def _read_json(path: Path) -> dict[str, list[Row]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return {part: [(str(p), int(n), str(c)) for p, n, c in content[part]] for part in content}
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{path} is no list of [path, number, class]; get the published file again") from None


def class_names(rows: dict[str, list[Row]], folder: Path) -> tuple[str, ...]:
    """Names in the order of their numbers; every number one name, every name one number, all seen in training.

    Raises:
        DataError: it is not so. (CoOp's code shifts the rows in silence when a class is missing from training.)
    """
    seen: dict[int, str] = {}
    for part in rows.values():
        for _, number, name in part:
            if seen.setdefault(number, name) != name:
                raise DataError(f"{folder}: class {number} is called {seen[number]!r} and {name!r}; mend the list")
    missing = sorted(set(seen) - {number for _, number, _ in rows.get("train", ())})
    if missing:
        raise DataError(f"{folder}: no training image of {seen[missing[0]]!r} (class {missing[0]}); mend the list")
    return _distinct(tuple(seen[number] for number in sorted(seen)), folder)


def _distinct(names: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    keys = [key(name) for name in names]
    twice = next((name for name, k in zip(names, keys, strict=True) if keys.count(k) > 1), None)
    if twice:
        raise DataError(f"{folder}: two classes are called {twice!r}; rename one in the list")
    return names


def labelled(title: str, root: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> Labelled:
    """List rows as labelled images; classes are found by name. ``DataError`` if images are missing."""
    paths = [inside(path, root) for path, _, _ in rows]
    present(root, paths)
    place = {name: i for i, name in enumerate(classes)}
    labels = tuple(place[name] for _, _, name in rows)
    template = DATASET_TEMPLATES.get(title, PLAIN)
    return Labelled(title, listed_images(root, paths), classes, labels, template=template)


def inside(path: str, root: Path) -> str:
    """A relative path of a list file, refused if it leaves ``root``."""
    parts = path.replace("\\", "/").split("/")
    if path.startswith("/") or ".." in parts:
        raise DataError(f"{path!r} in a list of {root} leaves that folder; lists hold paths inside it")
    return "/".join(part for part in parts if part not in ("", "."))


def present(root: Path, paths: Iterable[str]) -> None:
    """Refuse a list some of whose images are not there."""
    lost = [path for path in paths if not (root / path).is_file()]
    if lost:
        raise DataError(f"{root} lacks {len(lost)} listed images, first {lost[0]}; unpack the data set again")
