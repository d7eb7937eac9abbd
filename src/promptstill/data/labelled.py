"""The front door to labelled images: what a URI and a split name."""

import difflib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from promptstill.data.images import Images, from_source, limited, open_images
from promptstill.data.sets.base import SPLITS, Labelled, Split
from promptstill.data.sets.coop import LISTED, read_aircraft, read_listed
from promptstill.data.sets.domains import DOMAIN_SETS, read_domains
from promptstill.data.sets.folders import read_folders
from promptstill.data.sets.imagenet import VARIANTS, read_imagenet, read_variant
from promptstill.data.sets.pictograms import asset, read_pictograms
from promptstill.errors import UsageError

__all__ = ["SETS", "Labelled", "Split", "open_labelled", "open_unlabeled"]

EMBEDDED = ("pictograms",)
SETS: dict[str, Callable[[Path, Split], Labelled]] = {
    "dir": read_folders,
    "imagenet": read_imagenet,
    "fgvc-aircraft": read_aircraft,
    **{name: partial(read_listed, which) for name, which in LISTED.items()},
    **{name: partial(read_variant, which) for name, which in VARIANTS.items()},
    **{name: partial(read_domains, which) for name, which in DOMAIN_SETS.items()},
}
TEST_ONLY = frozenset((*VARIANTS, *DOMAIN_SETS))


def open_labelled(uri: str, split: Split) -> Labelled:
    """Labelled images of one split; nothing is decoded yet.

    Args:
        uri: ``pictograms``; ``dir:PATH`` with ``CLASS/*`` or ``DOMAIN/CLASS/*``, below ``train/``, ``val/`` and
            ``test/`` if it has them; or ``SET:PATH`` with a name of :data:`SETS`, such as ``caltech101:DATA``.
        split: ``train``, ``val`` or ``test``.

    Raises:
        UsageError: the URI names nothing known. DataError: the data are not there, or not in a known layout.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if uri in EMBEDDED:
        return read_pictograms(split)
    name, rest = parse(uri)
    if name in SETS and rest:
        place = Path(rest).expanduser().absolute()
        found = SETS[name](place, split)
        again = name != "dir" and (split == "train" or name in TEST_ONLY)  # then open_unlabeled has the same images
        return replace(found, images=from_source(found.images, f"{name}:{place}")) if again else found
    near = difflib.get_close_matches(name, [*EMBEDDED, *SETS], n=1)
    hint = f" (did you mean {near[0]}{'' if near[0] in EMBEDDED else ':PATH'}?)" if near else ""
    raise UsageError(f"unknown benchmark {uri!r}{hint}; use pictograms, dir:PATH or SET:PATH such as caltech101:DATA")


def open_unlabeled(source: str, limit: int | None = None) -> Images:
    """Unlabeled images of a user's own, or those of a data set by its URI.

    Of a set with a training split (also ``dir:PATH`` with ``train/``) these are its training images; of one that is
    there to test with, all images, as in PromptKD's domain generalisation: the student adapts to them without labels.
    """
    if source in EMBEDDED:
        return open_images(asset("train.parquet"), limit=limit)
    name, rest = parse(source)
    if name not in SETS or not rest:
        return open_images(source, limit=limit)
    return limited(open_labelled(source, "test" if name in TEST_ONLY else "train").images, limit)


def parse(uri: str) -> tuple[str, str]:
    """``Imagenet_A:DATA`` -> ``("imagenet-a", "DATA")``."""
    name, _, rest = uri.partition(":")
    return name.lower().replace("_", "-"), rest
