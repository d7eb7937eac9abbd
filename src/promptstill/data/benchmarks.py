"""Labelled test images by domain: the embedded ``pictograms``, and folders ``DOMAIN/CLASS/*``."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from promptstill.data.images import Images, open_images, subset
from promptstill.errors import DataError, UsageError

EMBEDDED = ("pictograms",)


@dataclass(frozen=True)
class Domain:
    """Test images of one domain with the class index of each."""

    images: Images
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Benchmark:
    """A test set: class names and domains. ``base`` and ``novel`` are the two halves of the classes, if it has them."""

    name: str
    classes: tuple[str, ...]
    domains: dict[str, Domain]
    base: tuple[str, ...] = ()
    novel: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(domain.labels) for domain in self.domains.values())

    def restrict(self, names: Sequence[str]) -> "Benchmark":
        """The images of the given classes, labelled by their place in ``names``; matched by name, never by index.

        Raises:
            DataError: none of the names is a class of this benchmark.
        """
        place = {_key(name): i for i, name in enumerate(names)}
        domains = {}
        for title, domain in self.domains.items():
            keep = [i for i, label in enumerate(domain.labels) if _key(self.classes[label]) in place]
            labels = tuple(place[_key(self.classes[domain.labels[i]])] for i in keep)
            if keep:
                domains[title] = Domain(subset(domain.images, keep), labels)
        if not domains:
            shown = ", ".join(self.classes[:8])
            raise DataError(f"{self.name} has none of the classes {', '.join(names)}; it has {shown}, ...")
        return Benchmark(self.name, tuple(names), domains, self.base, self.novel)


def load_benchmark(uri: str) -> Benchmark:
    """Load a benchmark: ``pictograms`` or ``dir:PATH`` with ``DOMAIN/CLASS/*`` images.

    Raises:
        UsageError: unknown name. DataError: the folder has no images in that layout.
    """
    if uri in EMBEDDED:
        return _pictograms()
    kind, _, rest = uri.partition(":")
    if kind == "dir" and rest:
        return _folders(Path(rest))
    near = difflib.get_close_matches(uri, EMBEDDED, n=1)
    raise UsageError(f"unknown benchmark {uri!r}; use {near[0] if near else 'pictograms'} or dir:PATH")


def open_unlabeled(source: str, limit: int | None = None) -> Images:
    """Unlabeled images of a user's own, or the ``train`` split of an embedded benchmark by its name."""
    return open_images(asset("train.parquet") if source in EMBEDDED else source, limit=limit)


def asset(*parts: str) -> Path:
    """A file of the embedded benchmark."""
    return Path(str(files("promptstill.assets").joinpath("pictograms", *parts)))


def _key(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")


def _pictograms() -> Benchmark:
    import pyarrow.parquet as pq

    about = json.loads(asset("pictograms.json").read_text(encoding="utf-8"))
    classes = tuple(about["classes"])
    path = asset("test.parquet")
    table = pq.read_table(path, columns=["domain", "class"]).to_pydict()
    images = open_images(path)
    domains = {}
    for title in dict.fromkeys(table["domain"]):
        keep = [i for i, domain in enumerate(table["domain"]) if domain == title]
        domains[title] = Domain(subset(images, keep), tuple(classes.index(table["class"][i]) for i in keep))
    return Benchmark("pictograms", classes, domains, tuple(about["base"]), tuple(about["novel"]))


def _folders(root: Path) -> Benchmark:
    if not root.is_dir():
        raise DataError(f"benchmark folder {root} does not exist; give a folder DOMAIN/CLASS/*.jpg")
    images = open_images(root)
    parts = [Path(name).parts for name in images.ids]
    bad = next((name for name, p in zip(images.ids, parts, strict=True) if len(p) != 3), None)
    if bad:
        raise DataError(f"{root / bad} does not stand in DOMAIN/CLASS/; a benchmark folder needs just these two levels")
    classes = tuple(sorted({p[1] for p in parts}))
    domains = {}
    for title in sorted({p[0] for p in parts}):
        keep = [i for i, p in enumerate(parts) if p[0] == title]
        domains[title] = Domain(subset(images, keep), tuple(classes.index(parts[i][1]) for i in keep))
    return Benchmark(str(root.name), classes, domains)
