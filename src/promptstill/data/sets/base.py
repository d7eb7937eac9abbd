"""Labelled images of one split, and the two ways in which the papers cut them: few shots, and halves of the classes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from promptstill.data.images import Images, subset
from promptstill.data.templates import PLAIN
from promptstill.errors import DataError, UsageError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Labelled:
    """Images of one split; ``classes[labels[i]]`` is what image ``i`` shows, ``domains[i]`` where it comes from."""

    name: str
    images: Images
    classes: tuple[str, ...]
    labels: tuple[int, ...] = field(repr=False)
    domains: tuple[str, ...] = field(default=(), repr=False)  # one for each image, or none at all
    halves: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # base and novel classes, if the set declares them
    template: str = PLAIN  # what the papers ask CLIP about this set without learning

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.images) or len(self.domains) not in (0, len(self.images)):
            raise DataError(f"{self.name}: {len(self.images)} images but {len(self.labels)} labels; each needs one")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def base(self) -> tuple[str, ...]:
        """The classes a teacher is tuned on: as declared, else the first half (an odd one more is base)."""
        return self.halves[0] or self.classes[: (len(self.classes) + 1) // 2]

    @property
    def novel(self) -> tuple[str, ...]:
        """The classes that no label is seen of."""
        return self.halves[1] or self.classes[(len(self.classes) + 1) // 2 :]

    def take(self, keep: Sequence[int]) -> "Labelled":
        """The images at these indices, in this order."""
        domains = tuple(self.domains[i] for i in keep) if self.domains else ()
        labels = tuple(self.labels[i] for i in keep)
        return replace(self, images=subset(self.images, keep), labels=labels, domains=domains)

    def restrict(self, names: Sequence[str]) -> "Labelled":
        """The images of the given classes, labelled by their place in ``names``; matched by name, never by index.

        Raises:
            DataError: none of the names is a class of this set.
        """
        place = {key(name): i for i, name in enumerate(names)}
        keys = [key(name) for name in self.classes]
        found = self.take([i for i, label in enumerate(self.labels) if keys[label] in place])
        if not found.labels:
            shown = ", ".join(self.classes[:8])
            raise DataError(f"{self.name} has none of the classes {', '.join(names)}; it has {shown}, ...")
        return replace(found, classes=tuple(names), labels=tuple(place[keys[label]] for label in found.labels))

    def shots(self, count: int, seed: int, leave: int = 0) -> "Labelled":
        """``count`` images of every class, drawn as CoOp draws them; all but ``leave`` where there are fewer.

        Python's generator seeded with ``seed``; one draw a class, classes in order of first appearance. To have the
        published sets, draw from all classes first and restrict to the base classes after.
        """
        if count < 1:
            raise UsageError(f"{count} shots are too few; give at least 1")
        rng, keep, groups = random.Random(seed), list[int](), dict[int, list[int]]()
        for index, label in enumerate(self.labels):
            groups.setdefault(label, []).append(index)
        for group in groups.values():
            most = min(count, max(0, len(group) - leave))
            keep += group if leave == 0 and len(group) < count else rng.sample(group, most)
        return self.take(keep)


def key(name: str) -> str:
    """A class name as it is compared: case, underscores and dashes make no difference."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
