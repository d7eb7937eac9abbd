"""Labelled test images by domain."""

from collections.abc import Sequence
from dataclasses import dataclass

from promptstill.data.images import Images
from promptstill.data.labelled import Labelled, open_labelled, open_unlabeled
from promptstill.data.sets.pictograms import asset

__all__ = ["Benchmark", "Domain", "asset", "by_domain", "load_benchmark", "open_unlabeled"]

WHOLE = "all"  # the one domain of a set without domains


@dataclass(frozen=True)
class Domain:
    """Test images of one domain with the class index of each."""

    images: Images
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Benchmark:
    """A test set: class names and domains. ``base`` and ``novel`` are the two halves of the classes."""

    name: str
    classes: tuple[str, ...]
    domains: dict[str, Domain]
    labelled: Labelled

    @property
    def base(self) -> tuple[str, ...]:
        """The base half of the classes."""
        return self.labelled.base

    @property
    def novel(self) -> tuple[str, ...]:
        """The novel half of the classes."""
        return self.labelled.novel

    def __len__(self) -> int:
        return sum(len(domain.labels) for domain in self.domains.values())

    def restrict(self, names: Sequence[str]) -> "Benchmark":
        """The images of the given classes, labelled by their place in ``names``; matched by name, never by index.

        Raises:
            DataError: none of the names is a class of this benchmark.
        """
        return by_domain(self.labelled.restrict(names))


def by_domain(data: Labelled) -> Benchmark:
    """Labelled images as a benchmark; those of a set without domains are one domain."""
    domains = data.domains or (WHOLE,) * len(data)
    groups: dict[str, list[int]] = {title: [] for title in domains}
    for index, title in enumerate(domains):
        groups[title].append(index)
    parts = {title: data.take(keep) for title, keep in groups.items()}
    return Benchmark(data.name, data.classes, {t: Domain(p.images, p.labels) for t, p in parts.items()}, data)


def load_benchmark(uri: str) -> Benchmark:
    """Load the test split of ``uri``, see :func:`promptstill.data.labelled.open_labelled`.

    Raises:
        UsageError: unknown name. DataError: the folder has no images in a known layout.
    """
    return by_domain(open_labelled(uri, "test"))
