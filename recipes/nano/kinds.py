"""What kind of thing a name is: the wider names above it in WordNet (a butterfly is an insect, a sailor a person).

An icon is mostly named for the narrow thing it shows, while users ask for wide classes. The image towers therefore
learn both: part of the target of an icon lies on the kinds of its name.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import captions
import numpy as np

HEIGHT = 7  # steps upwards
LEAST = 8  # names that a kind outside the bank must have under it to be added as a name of its own
MOST = 5  # kinds that a name keeps; those that icons are named by come first
TOO_WIDE = {"abstraction", "agent", "animate thing", "area", "artefact", "artifact", "attribute", "being",
            "body part", "causal agency", "causal agent", "cause", "chordate", "commodity", "construction",
            "consumer goods", "container", "conveyance", "covering", "craniate", "device", "entity", "equipment",
            "extremity", "fluid", "group", "implement", "instrumentality", "instrumentation", "invertebrate",
            "living thing", "location", "matter", "measure", "natural object", "object", "organism", "part",
            "physical entity", "physical object", "piece", "portion", "region", "relation", "solid", "structure",
            "substance", "surface", "thing", "unit", "vertebrate", "way", "whole"}  # fmt: skip


@dataclass(frozen=True)
class Taxonomy:
    """WordNet's nouns: the lemmas of each synset, what lies above it, and the senses of each lemma."""

    lemmas: dict[str, list[str]]
    above: dict[str, list[str]]
    senses: dict[str, list[str]]
    file: dict[str, int]

    def wider(self, lemma: str, height: int = HEIGHT) -> Iterator[str]:
        """The synonyms of a lemma in its first physical sense, then the first word of each synset above."""
        level = [s for s in self.senses.get(lemma, []) if self.file[s] in captions.CONCRETE_FILES][:1]
        for synset in level:
            yield from self.lemmas[synset]
        for _ in range(height):
            level = [up for synset in level for up in self.above[synset]]
            yield from (self.lemmas[synset][0] for synset in level)


def read_taxonomy(folder: Path) -> Taxonomy:
    """The synsets of ``data.noun`` and the lemmas of ``index.noun`` (formats: WordNet's wndb(5WN))."""
    lemmas, above, file = {}, {}, {}
    for line in (folder / "data.noun").read_text().splitlines():
        if line.startswith("  "):
            continue
        fields = line.split(" | ")[0].split()
        words = int(fields[3], 16)
        lemmas[fields[0]] = [w.replace("_", " ").lower() for w in fields[4 : 4 + 2 * words : 2]]
        pointers = fields[5 + 2 * words :]
        above[fields[0]] = [pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
        file[fields[0]] = int(fields[1])
    senses = {}
    for line in (folder / "index.noun").read_text().splitlines():
        if not line.startswith("  "):
            fields = line.split()
            senses[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]
    return Taxonomy(lemmas, above, senses, file)


def head(name: str, taxonomy: Taxonomy) -> str:
    """The longest end of the name that is a physical noun, else the first word that is: ``man surfing`` -> man."""
    words = name.split()
    for start in range(len(words)):
        if found := _noun(" ".join(words[start:]), taxonomy):
            return found
    return next((found for word in words if (found := _noun(word, taxonomy))), "")


def _noun(words: str, taxonomy: Taxonomy) -> str:
    """The words, or their singular, if their commonest sense is a physical thing; "" otherwise."""
    for end, singular in (("", ""), ("ies", "y"), ("es", ""), ("s", ""), ("men", "man"), ("ves", "f")):
        lemma = words[: len(words) - len(end)] + singular if words.endswith(end) else ""
        senses = taxonomy.senses.get(lemma, [])
        if senses and taxonomy.file[senses[0]] in captions.CONCRETE_FILES:
            return lemma
    return ""


def kinds_of(names: list[str], taxonomy: Taxonomy) -> list[list[str]]:
    """For each name its head, if that is not the whole of it, and the names above, without repetition."""
    rows = []
    for name in names:
        top = head(name, taxonomy)
        rows.append([k for k in dict.fromkeys([top, *taxonomy.wider(top)]) if k and k != name and k not in TOO_WIDE])
    return rows


def nearest_kinds(texts: list[str], names: list[str], taxonomy: Taxonomy) -> np.ndarray:
    """For each text the row of its nearest kind among ``names``, two steps up at most, or -1: ``(n,)``."""
    number = {n: i for i, n in enumerate(names)}
    found = (next((number[w] for w in taxonomy.wider(t, height=2) if w in number and w != t), -1) for t in texts)
    return np.fromiter(found, np.int64, len(texts))


def added_kinds(rows: list[list[str]], known: set[str]) -> list[str]:
    """Kinds outside ``known`` that stand over at least LEAST names."""
    count = Counter(kind for row in rows for kind in row)
    return sorted(k for k, n in count.items() if n >= LEAST and k not in known)


def kind_table(rows: list[list[str]], known: list[str], added: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each name the rows of its kinds in ``known + added``, ``(n, MOST)`` int64, and their shares (0 where there is
    none; they sum to 1 or 0). Kinds that icons are named by weigh twice as much as the added ones."""
    number = {k: i for i, k in enumerate([*known, *added])}
    index, share = np.zeros((len(rows), MOST), np.int64), np.zeros((len(rows), MOST), np.float32)
    for at, row in enumerate(rows):
        found = sorted((number[k] for k in row if k in number), key=lambda i: i >= len(known))[:MOST]
        index[at, : len(found)] = found
        share[at, : len(found)] = [2.0 if i < len(known) else 1.0 for i in found]
    return index, share / share.sum(1, keepdims=True).clip(min=1)
