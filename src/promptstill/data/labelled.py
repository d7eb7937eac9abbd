"""The front door to labelled images: what a URI and a split name."""

import difflib
from pathlib import Path

from promptstill.data.sets.base import SPLITS, Labelled, Split
from promptstill.data.sets.folders import read_folders
from promptstill.data.sets.pictograms import read_pictograms
from promptstill.errors import UsageError

__all__ = ["Labelled", "Split", "open_labelled"]

EMBEDDED = ("pictograms",)


def open_labelled(uri: str, split: Split) -> Labelled:
    """Labelled images of one split; nothing is decoded yet.

    Args:
        uri: ``pictograms``, or ``dir:PATH`` with ``CLASS/*`` or ``DOMAIN/CLASS/*``, below ``train/``, ``val/`` and
            ``test/`` if it has them.
        split: ``train``, ``val`` or ``test``.

    Raises:
        UsageError: the URI names nothing known. DataError: the data are not there, or not in a known layout.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if uri in EMBEDDED:
        return read_pictograms(split)
    kind, _, rest = uri.partition(":")
    if kind == "dir" and rest:
        return read_folders(Path(rest).expanduser(), split)
    near = difflib.get_close_matches(uri, EMBEDDED, n=1)
    raise UsageError(f"unknown benchmark {uri!r}; use {near[0] if near else 'pictograms'} or dir:PATH")
