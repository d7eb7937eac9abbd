"""Pictures to look at what was made: contact sheets, one row a class, and maps of prompts."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from promptstill.artifacts import write_atomic

SIDE, GAP, MARGIN = 96, 4, 110  # pixels: of a picture on the sheet, between pictures, for the name of the class

FEWEST, MOST, MOST_NAMED = 10, 2000, 25  # points of a map; classes in its legend


def contact_sheet(rows: Mapping[str, Sequence[Image.Image]], path: Path) -> None:
    """Write a PNG with the pictures of each class beside its name; rows may differ in length."""
    wide = max(map(len, rows.values()), default=0)
    sheet = Image.new("RGB", (MARGIN + wide * (SIDE + GAP), GAP + len(rows) * (SIDE + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, pictures) in enumerate(rows.items()):
        top = GAP + number * (SIDE + GAP)
        draw.text((GAP, top + SIDE // 2 - 6), name[:18], fill="black")
        for at, picture in enumerate(pictures):
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (MARGIN + at * (SIDE + GAP), top))
    write_atomic(path, lambda part: sheet.save(part, format="PNG"))


def draw_map(embeddings: np.ndarray, labels: np.ndarray, names: Sequence[str], path: Path) -> str:
    """Write a PNG of the t-SNE of unit embeddings (N, D), a colour a class; returns what became of it, to be noted.

    van der Maaten and Hinton, Visualizing Data using t-SNE (JMLR 2008).
    """
    missing = [package for package in ("matplotlib", "sklearn") if importlib.util.find_spec(package) is None]
    if missing or len(embeddings) < FEWEST:
        return f"left out: {missing[0]} is not installed" if missing else "left out: there are too few prompts"
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    kept = np.unique(np.linspace(0, len(embeddings) - 1, min(len(embeddings), MOST)).round().astype(int))
    points = TSNE(perplexity=min(30.0, (len(kept) - 1) / 3), init="random", random_state=0).fit_transform(
        embeddings[kept]
    )
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes, colours = figure.add_subplot(), colormaps["turbo"](np.linspace(0.05, 0.95, len(names)))
    for number, name in enumerate(names):
        own = points[labels[kept] == number]
        axes.scatter(own[:, 0], own[:, 1], s=12, color=[colours[number]], label=name)
    axes.set(xticks=[], yticks=[], title="prompts by class (t-SNE)")
    if len(names) <= MOST_NAMED:
        figure.legend(loc="outside right upper", fontsize=8)
    write_atomic(path, lambda part: figure.savefig(part, format="png", dpi=110))
    return path.name
