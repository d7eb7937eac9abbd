"""Tiny synthetic copies of the data sets, in the layouts that people have on disk."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

Triples = dict[str, list[tuple[str, int, str]]]
SYNSETS = ("n01440764", "n01443537", "n03773504", "n04008634")  # tench, goldfish, missile, projectile


def picture(path: Path) -> None:
    """A small picture that no other has: its colours follow from its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(path.as_posix().encode()[-40:]))
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def pictures(root: Path, names: Iterable[str]) -> None:
    """Several pictures below a folder."""
    for name in names:
        picture(root / name)


def zhou(folder: Path, title: str, images: str, names: tuple[str, ...], each: int = 3) -> Triples:
    """``split_zhou_<title>.json`` and its pictures: ``each`` training images a class, two of val and test."""
    rows: Triples = {}
    for split, count in (("train", each), ("val", 2), ("test", 2)):
        paths = [(f"c{n}/{split}{i}.jpg", n, name) for n, name in enumerate(names) for i in range(count)]
        rows[split] = paths[::-1]  # the published lists are in no order
    pictures(folder / images, (path for part in rows.values() for path, _, _ in part))
    (folder / f"split_zhou_{title}.json").write_text(json.dumps(rows))
    return rows


def aircraft(folder: Path) -> None:
    """FGVC Aircraft: no JSON, but lists of image ids."""
    (folder / "images").mkdir(parents=True)
    (folder / "variants.txt").write_text("707-320\nA340-500\nCessna 172\n")
    for number, split in enumerate(("train", "val", "test")):
        lines = [f"{number}0{i} {name}" for i, name in enumerate(("Cessna 172", "707-320", "A340-500"))]
        (folder / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
        pictures(folder / "images", (line.split()[0] + ".jpg" for line in lines))


def imagenet(folder: Path, inner: str = "images") -> None:
    """ImageNet's two scanned splits of four classes."""
    for split in ("train", "val"):
        pictures(folder / inner / split, (f"{synset}/{synset}_{n}.JPEG" for synset in SYNSETS for n in (10, 2)))


def listed(path: Path, rows: Iterable[tuple[str, int]]) -> None:
    """A list file with lines ``path number``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} {number}\n" for name, number in rows))
