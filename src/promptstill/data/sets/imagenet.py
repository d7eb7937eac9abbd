"""ImageNet (``train/`` and ``val/`` with a folder for each synset) and its variants V2, Sketch, A and R.

Class names are those of ``classnames.txt`` (``n01440764 tench``) if there is one beside the data, else the names that
open_clip ships. Two pairs of these are the same word; the second of a pair goes by another name here, because classes
are told apart by their names.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from promptstill.data.find import hidden, kind
from promptstill.data.images import listed_images
from promptstill.data.sets.base import Labelled, Split
from promptstill.data.sets.coop import read_lines
from promptstill.errors import DataError

SAME_WORD = {"n04008634": "projectile", "n04355933": "sunglass"}  # missile and sunglasses stand twice


@dataclass(frozen=True)
class Variant:
    """Where a variant's class folders are, and whether these are numbers (V2) or synsets."""

    title: str
    folder: str
    inner: tuple[str, ...]
    numbered: bool = False


VARIANTS = {
    "imagenetv2": Variant("ImageNetV2", "imagenetv2", ("imagenetv2-matched-frequency-format-val",), numbered=True),
    "imagenet-sketch": Variant("ImageNetSketch", "imagenet-sketch", ("images", "sketch")),
    "imagenet-a": Variant("ImageNetA", "imagenet-adversarial", ("imagenet-a",)),
    "imagenet-r": Variant("ImageNetR", "imagenet-rendition", ("imagenet-r",)),
}


def read_imagenet(root: Path, split: Split) -> Labelled:
    """ImageNet; its validation images are the test split, as in the papers, and there is no other."""
    if split == "val":
        raise DataError("ImageNet's validation images are its test split, as in the papers; use train or test")
    folder = "train" if split == "train" else "val"
    for base in (root / "imagenet" / "images", root / "images", root / "imagenet", root):
        if (base / folder).is_dir():
            return _scan("ImageNet", base / folder, root, numbered=False)
    raise DataError(f"{root} has no images/{folder}/ and no {folder}/ with a folder for each synset; check the path")


def read_variant(which: Variant, root: Path, split: Split) -> Labelled:
    """A variant of ImageNet, which is one test split. ``DataError`` for the other splits."""
    if split != "test":
        raise DataError(f"{which.title} has no split {split!r}; it is there to test with")
    for base in (root / which.folder, root):
        for place in (*(base / name for name in which.inner), base):
            if _class_folders(place, numbered=which.numbered):
                return _scan(which.title, place, root, numbered=which.numbered)
    wanted = "0, 1, ..." if which.numbered else "n01440764, ..."
    raise DataError(f"{root} has no class folders {wanted} of {which.title}; give {which.folder}/ or what is in it")


def synset_names(*places: Path) -> dict[str, str]:
    """The name of each of the 1,000 synsets, in order of the synsets.

    Raises:
        DataError: a ``classnames.txt`` in one of the places is not lines of a synset and a name.
    """
    for place in places:
        if (place / "classnames.txt").is_file():
            pairs = [line.strip().partition(" ") for line in read_lines(place / "classnames.txt")]
            if any(not gap or not synset.startswith("n") for synset, gap, _ in pairs):
                raise DataError(f"{place / 'classnames.txt'} is not lines such as 'n01440764 tench'; get it again")
            names = {synset: name.strip() for synset, _, name in pairs}
            break
    else:
        import open_clip
        from timm.data.imagenet_info import ImageNetInfo

        names = dict(zip(ImageNetInfo().label_names(), open_clip.IMAGENET_CLASSNAMES, strict=True))
    common = list(names.values())
    return {s: SAME_WORD.get(s, n) if common.count(n) > 1 else n for s, n in sorted(names.items())}


def _scan(title: str, place: Path, root: Path, *, numbered: bool) -> Labelled:
    folders = _class_folders(place, numbered=numbered)
    if not folders:
        raise DataError(f"{place} has no folder for any class of {title}; unpack its archives")
    names = synset_names(root, place.parent, place.parent.parent, root / "imagenet", root.parent / "imagenet")
    order = list(names) if numbered else sorted(names)
    named = {f: names[order[int(f)]] if numbered else names.get(f, "") for f in folders}
    unknown = [folder for folder, name in named.items() if not name]
    if unknown:
        raise DataError(f"{place / unknown[0]} is no class of ImageNet; move it away")
    paths = [(number, f"{folder}/{file}") for number, folder in enumerate(folders) for file in _files(place / folder)]
    images = listed_images(place, [path for _, path in paths])
    return Labelled(title, images, tuple(named.values()), tuple(number for number, _ in paths))


def _class_folders(place: Path, *, numbered: bool) -> list[str]:
    """Class folders in order of their numbers or synsets."""
    if not place.is_dir():
        return []
    folders = [p.name for p in place.iterdir() if p.is_dir() and not hidden(p.name)]
    if numbered:
        return sorted((f for f in folders if f.isdigit() and int(f) < 1000), key=int)
    return sorted(f for f in folders if f[:1] == "n" and f[1:].isdigit())


def _files(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not hidden(name) and kind(Path(name)) == "image")
