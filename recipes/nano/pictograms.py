"""The embedded benchmark: held-out icons of 32 everyday things in five drawing styles, as two parquet files.

``python recipes/nano/pictograms.py WORK`` reads what icons.py wrote into WORK and writes ``WORK/pictograms``. In order:
names (pictograms_names.txt) put icons up; one that resembles any icon a nano model may have seen goes; of drawings that
resemble each other within a domain one stays; every icon left was looked at and some were thrown out
(pictograms_rejects.txt); whole groups of related drawings go to the test or the train split, never to both.
"""

import hashlib
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import resvg_py
from icons import SIZE, svg_text
from neighbours import alike, best_match, descriptors
from numpy.typing import ArrayLike
from pictogram_classes import (
    BASE,
    CLASSES,
    DOMAINS,
    FAMILIES,
    LINE_SETS,
    NOVEL,
    SEED,
    SHAPE_SETS,
    SYNONYMS,
    VERSION,
)
from PIL import Image

SEEN = 0.85  # at and above this likeness two icons count as the same drawing (chosen on a sheet of pairs)
RELATED = 0.75  # the same, between icons of one family: variants of one drawing stay on one side of the split
FLOOR, CELL_POOL, TEST_SHARE = 3, 40, 0.56
CONTRAST = 4.5  # of ink on paper, as WCAG counts it
NAMES, REJECTS = (Path(__file__).with_name(f"pictograms_{part}.txt") for part in ("names", "rejects"))

Row = dict[str, Any]  # one line of icons.jsonl, or one set of collections.json


@dataclass
class Candidate:
    """One icon that may enter: its row in icons.jsonl, its class and domain, and what it resembles."""

    row: int
    id: str
    words: str
    family: str
    label: str
    domain: str
    seen: float = -1.0
    twin: int = -1
    split: str = ""


def draw(*key: object) -> float:
    """A number in [0, 1) that depends on ``key`` and SEED only."""
    text = "/".join(map(str, (SEED, *key)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def domain_of(row: Row) -> str:
    """The domain of an icon, "" when it is in none; an icon of unsure style follows its set."""
    for domain in ("emoji", "shaded", "monochrome"):
        if row["set"] in DOMAINS[domain]:
            return domain
    style = row["style"] or ("outline" if row["set"] in LINE_SETS else "solid" if row["set"] in SHAPE_SETS else "")
    return style if row["set"] in DOMAINS.get(style, ()) else ""


def names() -> dict[str, str]:
    """The plain-text names that may enter: name -> class."""
    lines = [line.split(": ", 1) for line in NAMES.read_text().splitlines() if line[0] != "#"]
    return {name: label for label, listed in lines for name in listed.split("; ")}


def candidates(rows: list[Row]) -> list[Candidate]:
    """Held-out icons whose name is listed for a class and whose set and style fit a domain."""
    classes, found = names(), []
    for i, row in enumerate(rows):
        label = classes.get(row["words"]) if row["held_out"] else None
        domain = domain_of(row) if label else ""
        if label and domain:
            family = FAMILIES.get(row["set"], str(row["set"]))
            found.append(Candidate(i, f"{row['set']}:{row['name']}", row["words"], family, label, domain))
    return found


def mark_seen(found: list[Candidate], rows: list[Row], marks: np.ndarray) -> None:
    """Give each candidate its likeness to, and the row of, the nearest icon that is not held out."""
    open_rows = np.array([i for i, row in enumerate(rows) if not row["held_out"]])
    score, index = best_match(marks[[c.row for c in found]], marks[open_rows])
    for candidate, value, match in zip(found, score, open_rows[index], strict=True):
        candidate.seen, candidate.twin = float(value), int(match)


def first_of_twins(found: list[Candidate], marks: np.ndarray) -> list[Candidate]:
    """Of near-identical drawings of one class in one domain, the first by a fixed random order; a pool of those."""
    cells = defaultdict(list)
    for candidate in sorted(found, key=lambda c: draw("order", c.id)):
        cells[candidate.label, candidate.domain].append(candidate)
    kept = []
    for members in cells.values():
        same = alike(*(marks[[c.row for c in members]],) * 2) >= SEEN
        chosen: list[int] = []
        for i, candidate in enumerate(members):
            named = {(members[j].family, members[j].words) for j in chosen}
            twin_name = candidate.family in {"fa", "map"} and (candidate.family, candidate.words) in named
            if len(chosen) < CELL_POOL and not twin_name and not same[i, chosen].any():
                chosen.append(i)
        kept += [members[i] for i in chosen]
    return sorted(kept, key=lambda c: (c.label, list(DOMAINS).index(c.domain), c.id))


def rejected() -> dict[str, str]:
    """Icons thrown out by eye: id -> class; the file has a line each: class, id, reason."""
    lines = [line.split("\t") for line in REJECTS.read_text().splitlines() if line and line[0] != "#"]
    return {name: label for label, name, _ in lines}


def groups(members: list[Candidate], marks: np.ndarray) -> list[list[Candidate]]:
    """Groups of candidates of one class that must stay together: same concept in a family, or alike drawings."""
    likeness = alike(*(marks[[c.row for c in members]],) * 2)
    parent = list(range(len(members)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, a in enumerate(members):
        for j, b in enumerate(members[:i]):
            kin = a.family == b.family and (a.words == b.words or likeness[i, j] >= RELATED)
            if kin or likeness[i, j] >= SEEN:
                parent[root(i)] = root(j)
    found = defaultdict(list)
    for i, candidate in enumerate(members):
        found[root(i)].append(candidate)
    return sorted(found.values(), key=lambda g: draw("group", g[0].id))


def split_class(units: list[list[Candidate]]) -> None:
    """Fill every domain's test floor with the units that fill most, then divide the rest by chance."""
    have: Counter[str] = Counter()
    rest = list(units)

    def take(unit: list[Candidate]) -> None:
        rest.remove(unit)
        for candidate in unit:
            candidate.split = "test"
            have[candidate.domain] += 1

    def fills(unit: list[Candidate]) -> int:
        new = Counter(c.domain for c in unit)
        return sum(min(FLOOR, have[d] + n) - min(FLOOR, have[d]) for d, n in new.items())

    while rest and fills(max(rest, key=fills)):
        take(max(rest, key=fills))
    total = sum(map(len, units))
    for unit in list(rest):
        if have.total() + len(unit) <= TEST_SHARE * total:
            take(unit)
    for candidate in (c for unit in rest for c in unit):
        candidate.split = "train"


def split(pool: list[Candidate], marks: np.ndarray) -> list[Candidate]:
    """Set every candidate's split; a train icon that resembles any test icon is left out."""
    for label in CLASSES:
        split_class(groups([c for c in pool if c.label == label], marks))
    test, train = ([c for c in pool if c.split == s] for s in ("test", "train"))
    score, _ = best_match(marks[[c.row for c in train]], marks[[c.row for c in test]])
    return test + [c for c, s in zip(train, score, strict=True) if s < SEEN]


def luminance(colour: Iterable[float]) -> float:
    """Relative luminance of an sRGB colour in 0..255 (WCAG 2.1)."""
    red, green, blue = (v / 3294.6 if v <= 10.31 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(ink: Iterable[float], paper: Iterable[float]) -> float:
    """Contrast ratio, 1..21 (WCAG 2.1)."""
    low, high = sorted((luminance(ink), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


def colours(name: str) -> tuple[list[int], list[int]]:
    """Ink and paper of a single-colour icon: half dark on light, half any two colours far enough apart."""
    if draw("plain", name) < 0.5:
        ink = [int(60 * draw("ink", name, k)) for k in range(3)] if draw("black", name) < 0.5 else [0, 0, 0]
        return ink, light_paper(name)
    for attempt in range(1000):
        ink, paper = ([int(256 * draw(part, attempt, name, k)) for k in range(3)] for part in ("ink", "paper"))
        if contrast(ink, paper) >= CONTRAST:
            return ink, paper
    raise RuntimeError(f"no colours for {name}")


def light_paper(name: str) -> list[int]:
    """White for half of the icons, else a light colour."""
    return [255] * 3 if draw("white", name) < 0.5 else [225 + int(31 * draw("light", name, k)) for k in range(3)]


def png(pixels: np.ndarray) -> bytes:
    """A (64, 64, 3) uint8 picture as PNG, with a palette where that loses nothing."""
    flat, inverse = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if len(flat) <= 256:
        image = Image.fromarray(inverse.reshape(pixels.shape[:2]).astype(np.uint8), "P")
        image.putpalette(flat.astype(np.uint8).tobytes())
    else:
        image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class Icons:
    """The pixel arrays of icons.py, by row."""

    def __init__(self, work: Path) -> None:
        self.work, self.shaded = work, None
        self.rows = [json.loads(line) for line in (work / "icons.jsonl").open()]
        self.alpha, self.rgb = (np.load(work / f"{name}.npy", mmap_mode="r") for name in ("alpha", "rgb"))
        self.colour_row = np.cumsum([row["colour"] for row in self.rows]) - 1

    def smooth(self, row: int, name: str) -> np.ndarray:
        """A shaded icon drawn four times as large and shrunk: its filters leave jagged edges at 64 pixels."""
        if self.shaded is None:
            self.shaded = json.loads((self.work / "iconify/package/json/fluent-emoji.json").read_text())
        svg = svg_text(self.shaded, self.rows[row]["name"]).replace(f'="{SIZE}"', f'="{4 * SIZE}"')
        large = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
        sheet = Image.new("RGBA", large.size, (*light_paper(name), 255))
        sheet.alpha_composite(large)
        return np.asarray(sheet.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX))

    def picture(self, row: int, name: str) -> np.ndarray:
        """The icon as the benchmark shows it, (64, 64, 3) uint8."""
        if self.rows[row]["set"] in DOMAINS["shaded"]:
            return self.smooth(row, name)
        if self.rows[row]["colour"]:
            return self.plain(row, light_paper(name))
        return self.plain(row, *colours(name)[::-1])

    def plain(self, row: int, paper: ArrayLike = (255, 255, 255), ink: ArrayLike = (0, 0, 0)) -> np.ndarray:
        """The icon on paper, a single-colour one in ``ink``: (64, 64, 3) uint8."""
        alpha = self.alpha[row][..., None] / 255
        if self.rows[row]["colour"]:
            ink = self.rgb[self.colour_row[row]]
        return np.rint(np.multiply(ink, alpha) + np.multiply(paper, 1 - alpha)).astype(np.uint8)


def write(out: Path, icons: Icons, chosen: list[Candidate], licences: dict[str, str]) -> None:
    """test.parquet, train.parquet and the test folders; in train ``class`` is null and ``label`` keeps the truth."""
    for part in ("test", "train"):
        members = sorted((c for c in chosen if c.split == part), key=lambda c: draw("shuffle", c.id))
        images = [png(icons.picture(c.row, c.id)) for c in members]
        table = pa.table({
            "id": [c.id for c in members],
            "image": pa.array(images, pa.binary()),
            "domain": [c.domain for c in members],
            "class": pa.array([c.label if part == "test" else None for c in members], pa.string()),
            "label": [c.label for c in members],
            "licence": [licences[c.id.split(":")[0]] for c in members],
        })  # fmt: skip
        pq.write_table(table, out / f"{part}.parquet", compression="none", use_dictionary=False)
        for candidate, image in zip(members, images, strict=True) if part == "test" else ():
            path = out / "test" / candidate.domain / candidate.label / f"{candidate.id.replace(':', '_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)


def describe(chosen: list[Candidate], sets: dict[str, Row]) -> Row:
    """The content of pictograms.json."""
    used = {d: sorted({c.id.split(":")[0] for c in chosen if c.domain == d}) for d in DOMAINS}
    cells = {s: {d: {k: sum((c.split, c.domain, c.label) == (s, d, k) for c in chosen) for k in CLASSES}
                 for d in DOMAINS} for s in ("test", "train")}  # fmt: skip
    short = [[d, k, n] for d, row in cells["test"].items() for k, n in row.items() if n < FLOOR]
    owed = {p: {"name": sets[p]["name"], "author": sets[p]["author"]["name"], "url": sets[p]["author"].get("url", ""),
                   "licence": sets[p]["license"]["spdx"], "licence_url": sets[p]["license"].get("url", "")}
               for p in sorted({p for names in used.values() for p in names})}  # fmt: skip
    return {"name": "pictograms", "version": VERSION, "seed": SEED, "size": 64, "classes": list(CLASSES),
            "base": list(BASE), "novel": list(NOVEL), "synonyms": {k: list(v) for k, v in SYNONYMS.items()},
            "domains": used, "images": {s: sum(c.split == s for c in chosen) for s in cells}, "cells": cells,
            "cells_below_three": short, "sets": owed}  # fmt: skip


def near_duplicates(found: list[Candidate], chosen: list[Candidate], pool: int, marks: np.ndarray) -> Row:
    """How near the benchmark is to the training icons, and its test split to its train split."""
    test, train = ([c for c in chosen if c.split == s] for s in ("test", "train"))
    between, _ = best_match(marks[[c.row for c in test]], marks[[c.row for c in train]])
    edges = np.arange(0.3, 1.001, 0.05).round(2)

    def histogram(values: Iterable[float]) -> list[int]:
        return np.histogram(np.clip(list(values), edges[0], 1), edges)[0].tolist()

    return {"threshold": SEEN, "bins": edges.tolist(), "candidates": len(found),
            "dropped_as_seen": sum(c.seen >= SEEN for c in found), "looked_at": pool, "thrown_out": pool - len(
                [c for c in found if c.split]), "left_out_beside_test": sum(bool(c.split) for c in found) - len(chosen),
            "kept": len(chosen),
            "candidates_to_training": histogram(c.seen for c in found),
            "kept_to_training": histogram(c.seen for c in chosen), "test_to_train": histogram(between)}  # fmt: skip


def build(work: Path) -> None:
    """Everything, from WORK/icons.jsonl to WORK/pictograms."""
    icons, marks, out = Icons(work), descriptors(work), work / "pictograms"
    out.mkdir(exist_ok=True)
    sets = json.loads((work / "iconify" / "package" / "collections.json").read_text())
    found = candidates(icons.rows)
    mark_seen(found, icons.rows, marks)
    looked_at = first_of_twins([c for c in found if c.seen < SEEN], marks)
    bad = rejected()
    chosen = split([c for c in looked_at if bad.get(c.id) != c.label], marks)
    write(out, icons, chosen, {p: s["license"]["spdx"] for p, s in sets.items()})
    for name, content in (("pictograms", describe(chosen, sets)),
                          ("near_duplicates", near_duplicates(found, chosen, len(looked_at), marks))):  # fmt: skip
        (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
