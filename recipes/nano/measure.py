"""Measure the embedded models on icon sets that none of them was trained on; writes ``results.json`` beside this file.

    python recipes/nano/measure.py WORK

Styles and reconstruction are measured here, on the rendered icons, and what an icon's name gains from other drawings of
it; zero-shot accuracy on the benchmark, which ships with the package, is measured by ``benchmarks/nano.py``.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from lesson import ASIDE_NAMES, is_aside
from pictures import Icons
from vqgan import FINAL_PICTURES, judge

from promptstill.data.benchmarks import load_benchmark
from promptstill.models.clip import Clip, load_clip
from promptstill.models.generator import load_vqgan
from promptstill.ops.preprocess import resize, to_unit

STYLES = ("outline", "solid", "duotone", "pixel art", "emoji", "3d")
EACH, SEED = 200, 20261122
DRAWINGS = (0, 4, 8, 16, 32)  # lower ends of the groups by number of training sets that draw the name
PAINTED = 4  # inks and papers of each put-aside icon
COPIED = {"solar", "reicon"}  # held out, but the shipped weights saw reicon early on, which copies solar


@torch.no_grad()
def style_accuracy(clip: Clip, icons: Icons) -> dict[str, float]:
    """How often "NAME in the style of S" is nearest for an icon's own style S among six, in per cent."""
    rng, hits = np.random.default_rng(SEED), {}
    for number, style in enumerate(STYLES):
        pool = [
            i for i in icons.held_out_indices if icons.rows[i]["style"] == style and icons.rows[i]["set"] not in COPIED
        ]
        chosen = np.sort(rng.choice(pool, min(EACH, len(pool)), replace=False))
        pictures = resize(to_unit(icons.batch(chosen, SEED)), clip.preprocess.size)
        names = [icons.rows[i]["words"] for i in chosen]
        texts = clip.embed_texts([f"{name} in the style of {other}" for name in names for other in STYLES])
        scores = torch.einsum("nd,nsd->ns", clip.embed_images(pictures), texts.view(len(chosen), len(STYLES), -1))
        hits[style] = round(100 * float((scores.argmax(1) == number).float().mean()), 1)
    return hits | {"mean": round(float(np.mean(list(hits.values()))), 1)}


def drawings(icons: Icons) -> dict[tuple[str, bool], int]:
    """How many training sets draw each name in colour (True), and how many in one ink (False)."""
    sets = defaultdict[tuple[str, bool], set[str]](set)
    for row in (icons.rows[i] for i in icons.train_indices):
        if not is_aside(row):
            sets[row["words"], row["colour"]].add(row["set"])
    return {key: len(found) for key, found in sets.items()}


@torch.no_grad()
def by_drawings(clip: Clip, icons: Icons, drawn: dict[tuple[str, bool], int]) -> dict[str, dict[str, float]]:
    """Accuracy on the put-aside icons among their names, in per cent, by how many training sets draw the name in the
    same way: at least so many, and fewer than the next number."""
    chosen = [int(i) for i in icons.train_indices if is_aside(icons.rows[i])]
    texts, hits = clip.embed_texts([f"a {name}" for name in ASIDE_NAMES]), np.zeros(len(chosen))
    words = np.array([icons.rows[i]["words"] for i in chosen])
    for seed in range(PAINTED):
        pictures = resize(to_unit(icons.batch(np.array(chosen), seed)), clip.preprocess.size)
        hits += np.array(ASIDE_NAMES)[(clip.embed_images(pictures) @ texts.T).argmax(1).numpy()] == words
    groups = defaultdict[tuple[bool, int], list[float]](list)
    for i, count in zip(chosen, hits, strict=True):
        key = icons.rows[i]["words"], icons.rows[i]["colour"]
        groups[key[1], max(d for d in DRAWINGS if d <= drawn.get(key, 0))].append(100 * count / PAINTED)
    return {
        f"{'colour' if colour else 'one ink'}, from {least}": {"icons": len(g), "accuracy": round(float(np.mean(g)), 1)}
        for (colour, least), g in sorted(groups.items())
    }


def main(work: Path) -> None:
    """Measure and write."""
    icons = Icons(work)
    drawn, classes = drawings(icons), load_benchmark("pictograms").classes
    figures = {
        "styles": {uri: style_accuracy(load_clip(uri), icons) for uri in ("nano", "nano-student")},
        "vqgan": judge(load_vqgan("nano-vqgan").model, icons, FINAL_PICTURES) | {"pictures": FINAL_PICTURES},
        "put-aside icons by drawings": by_drawings(load_clip("nano"), icons, drawn),
        "drawings of the benchmark's classes": {
            name: {"colour": drawn.get((name, True), 0), "one ink": drawn.get((name, False), 0)} for name in classes
        },
        "icons": {"all": len(icons), "held_out": len(icons.held_out_indices)},
    }
    if (work / "text.json").is_file():
        figures["text"] = json.loads((work / "text.json").read_text())
    Path(__file__).with_name("results.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
