"""A user's own folders: ``CLASS/*``, ``DOMAIN/CLASS/*``, and either of them below ``train/``, ``val/``, ``test/``."""

from pathlib import Path

from promptstill.data.images import open_images
from promptstill.data.sets.base import Labelled, Split
from promptstill.errors import DataError

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def read_folders(root: Path, split: Split) -> Labelled:
    """The images of one split below ``root``; a folder without split folders is the same in every split.

    Raises:
        DataError: the folder, or this split of it, is missing, or images do not stand in one of the layouts.
    """
    if not root.is_dir():
        raise DataError(f"folder {root} does not exist; give a folder CLASS/*.jpg or DOMAIN/CLASS/*.jpg")
    place = _split_folder(root, split)
    images = open_images(place)
    parts = [Path(name).parts for name in images.ids]
    depth = 3 if any(len(p) == 3 for p in parts) else 2
    bad = next((name for name, p in zip(images.ids, parts, strict=True) if len(p) != depth), None)
    if bad:
        raise DataError(f"{place / bad} does not stand in DOMAIN/CLASS/ or CLASS/; every image needs the same levels")
    classes = tuple(sorted({p[-2] for p in parts}))
    index = {name: i for i, name in enumerate(classes)}
    domains = tuple(p[0] for p in parts) if depth == 3 else ()
    return Labelled(root.name, images, classes, tuple(index[p[-2]] for p in parts), domains)


def _split_folder(root: Path, split: Split) -> Path:
    known = {name: kind for kind, names in SPLIT_FOLDERS.items() for name in names}
    there = {known[p.name.lower()]: p for p in sorted(root.iterdir()) if p.is_dir() and p.name.lower() in known}
    if not there:
        return root
    if split not in there:
        has = [name for name in SPLIT_FOLDERS if name in there]
        raise DataError(f"{root} has the splits {', '.join(has)}, not {split}; add a folder {split}/")
    return there[split]
