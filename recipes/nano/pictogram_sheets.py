"""The two pictures of the benchmark's documentation: ``python recipes/nano/pictogram_sheets.py WORK FOLDER``.

``pictograms.png`` shows each class in each domain; ``pictograms-neighbours.png`` shows how near candidates come to the
icons that the nano models were trained on, and pairs on both sides of the threshold.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from neighbours import descriptors
from pictogram_classes import BASE, DOMAINS, NOVEL
from pictograms import SEEN, Candidate, Icons, candidates, draw, mark_seen
from PIL import Image, ImageDraw, ImageFont

TILE, LABEL, HEAD, PER_CELL = 48, 82, 20, 2
PAIR, PAIRS_A_ROW = 70, 8
BANDS = ((0.95, 1.01), (0.9, 0.95), (SEEN, 0.9), (0.8, SEEN), (0.75, 0.8))


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty light sheet and its pen."""
    image = Image.new("RGB", (width, height), "#f4f4f6")
    pen = ImageDraw.Draw(image)
    pen.font = ImageFont.load_default(12)
    return image, pen


def save(image: Image.Image, path: Path) -> None:
    """As a PNG of 128 colours: a picture for a page, not data."""
    image.quantize(128, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


def overview(work: Path) -> Image.Image:
    """Classes by domains, two test pictures a cell: base classes left, novel classes right."""
    table = pq.read_table(work / "pictograms" / "test.parquet").sort_by("id").to_pylist()
    block = LABEL + PER_CELL * len(DOMAINS) * TILE + 12
    image, pen = sheet(2 * block, HEAD + TILE * max(len(BASE), len(NOVEL)))
    for left, classes in ((0, BASE), (block, NOVEL)):
        for column, domain in enumerate(DOMAINS):
            x = left + LABEL + column * PER_CELL * TILE
            pen.text((x + 4, 3), domain, fill="#555")
            for row, label in enumerate(classes):
                pen.text((left + 6, HEAD + row * TILE + 16), label, fill="black")
                cell = [r for r in table if (r["class"], r["domain"]) == (label, domain)]
                cell = sorted(cell, key=lambda r: draw("overview", r["id"]))
                for k, item in enumerate(cell[:PER_CELL]):
                    tile = Image.open(io.BytesIO(item["image"])).convert("RGB")
                    tile = tile.resize((TILE - 4, TILE - 4), Image.Resampling.LANCZOS)
                    image.paste(tile, (x + k * TILE + 2, HEAD + row * TILE + 2))
    return image


def pairs(found: list[Candidate], low: float, high: float) -> list[Candidate]:
    """A row of candidates whose nearest training icon is between ``low`` and ``high``, in order of likeness."""
    band = [c for c in found if low <= c.seen < high]
    chosen = sorted(band, key=lambda c: draw("pair", c.id))[:PAIRS_A_ROW]
    return sorted(chosen, key=lambda c: -c.seen)


def bars(pen: ImageDraw.ImageDraw, found: list[Candidate], width: int, height: int) -> None:
    """The histogram of best matches; what is dropped in another colour."""
    counts, edges = np.histogram([c.seen for c in found], np.arange(0.3, 1.001, 0.025))
    step = (width - 20) / len(counts)
    for k, (count, edge) in enumerate(zip(counts, edges, strict=False)):
        x, top = 10 + k * step, height - 18 - count / max(counts) * (height - 40)
        pen.rectangle((x, top, x + step - 2, height - 18), fill="#c0504d" if edge >= SEEN - 1e-9 else "#4f81bd")
        if k % 2 == 0:
            pen.text((x, height - 16), f"{edge:.2f}", fill="#333")
    pen.text((10, 4), f"Likeness of {len(found)} candidates to their nearest training icon; red (>= {SEEN}): dropped",
             fill="black")  # fmt: skip


def neighbours(work: Path) -> Image.Image:
    """Histogram of best matches, and below it rows of pairs (candidate, nearest training icon) by likeness."""
    icons = Icons(work)
    found = candidates(icons.rows)
    mark_seen(found, icons.rows, descriptors(work))
    width, top = PAIRS_A_ROW * (2 * PAIR + 8) + 8, 170
    image, pen = sheet(width, top + len(BANDS) * (PAIR + 34))
    bars(pen, found, width, top)
    for row, (low, high) in enumerate(BANDS):
        y = top + row * (PAIR + 34)
        verdict = "dropped" if low >= SEEN else "kept"
        pen.text((8, y + 2), f"{low:.2f} to {min(high, 1):.2f}: {verdict}", fill="black")
        for k, candidate in enumerate(pairs(found, low, high)):
            x = 8 + k * (2 * PAIR + 8)
            for shift, index in ((0, candidate.row), (PAIR, candidate.twin)):
                image.paste(Image.fromarray(icons.plain(index)), (x + shift + 1, y + 18))
            names = candidate.id.split(":")[0][:11], icons.rows[candidate.twin]["set"][:11]
            pen.text((x, y + PAIR + 14), f"{names[0]} | {names[1]}", fill="#555", font=ImageFont.load_default(10))
    return image


if __name__ == "__main__":
    work, folder = Path(sys.argv[1]), Path(sys.argv[2])
    save(overview(work), folder / "pictograms.png")
    save(neighbours(work), folder / "pictograms-neighbours.png")
