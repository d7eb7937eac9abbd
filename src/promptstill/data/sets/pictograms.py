"""The embedded benchmark: icons of 32 things in five drawing styles."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from promptstill.data.images import open_images
from promptstill.data.sets.base import Labelled, Split
from promptstill.errors import DataError


def asset(*parts: str) -> Path:
    """A file of the embedded benchmark."""
    return Path(str(files("promptstill.assets").joinpath("pictograms", *parts)))


def read_pictograms(split: Split) -> Labelled:
    """The split ``train`` (some classes have few images) or ``test``; ``DataError`` for ``val``, which is not there."""
    import pyarrow.parquet as pq

    if split == "val":
        raise DataError("pictograms has no split 'val', only train and test; hold out a part of train")
    about: dict[str, Any] = json.loads(asset("pictograms.json").read_text(encoding="utf-8"))
    classes, path = tuple(about["classes"]), asset(f"{split}.parquet")
    table = pq.read_table(path, columns=["domain", "label"]).to_pydict()
    labels = tuple(classes.index(name) for name in table["label"])
    halves = (tuple(about["base"]), tuple(about["novel"]))
    return Labelled("pictograms", open_images(path), classes, labels, tuple(table["domain"]), halves)
