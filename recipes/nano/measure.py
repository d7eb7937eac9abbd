"""Measure the embedded models on icon sets that none of them was trained on; writes ``results.json`` beside this file.

    python recipes/nano/measure.py WORK

Styles and reconstruction are measured here, on the rendered icons; zero-shot accuracy on the benchmark, which ships
with the package, is measured by ``benchmarks/nano.py``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from pictures import Icons
from vqgan import FINAL_PICTURES, judge

from promptstill.models.clip import Clip, load_clip
from promptstill.models.generator import load_vqgan
from promptstill.ops.preprocess import resize, to_unit

STYLES = ("outline", "solid", "duotone", "pixel art", "emoji", "3d")
EACH, SEED = 200, 20261122
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


def main(work: Path) -> None:
    """Measure and write."""
    icons = Icons(work)
    figures = {
        "styles": {uri: style_accuracy(load_clip(uri), icons) for uri in ("nano", "nano-student")},
        "vqgan": judge(load_vqgan("nano-vqgan").model, icons, FINAL_PICTURES) | {"pictures": FINAL_PICTURES},
        "icons": {"all": len(icons), "held_out": len(icons.held_out_indices)},
    }
    if (work / "text.json").is_file():
        figures["text"] = json.loads((work / "text.json").read_text())
    Path(__file__).with_name("results.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
