"""What the exported nano folders can do, and what they cost. Nothing here is used to choose anything."""

import json
import statistics
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from captions import STYLE_TEMPLATES
from pictures import Icons
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

TEMPLATES = ("A {}", "a photo of a {}")
STYLES = ("outline", "solid", "duotone", "pixel art", "emoji", "3d")  # those with enough held-out icons


class Model:
    """An open_clip folder with its preprocessing and tokenizer."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        self.clip, _, self.preprocess = open_clip.create_model_and_transforms(name)
        self.clip.eval()
        self.tokenizer = open_clip.get_tokenizer(name)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Tensor:
        """Unit vectors ``(n, D)``."""
        parts = self.tokenizer(texts).split(256)
        return torch.cat([self.clip.encode_text(part, normalize=True) for part in parts])

    @torch.inference_mode()
    def images(self, images: list[Image.Image]) -> Tensor:
        """Unit vectors ``(n, D)``."""
        parts = torch.stack([self.preprocess(image) for image in images]).split(128)
        return torch.cat([self.clip.encode_image(part, normalize=True) for part in parts])


def pictograms(model: Model, test: Path) -> dict[str, dict[str, float]]:
    """Zero-shot accuracy per template and domain, with their mean, over the pictures ``test/DOMAIN/CLASS/*.png``."""
    files = sorted(test.glob("*/*/*.png"))
    classes = sorted({f.parent.name for f in files})
    v = model.images([Image.open(f).convert("RGB") for f in files])
    truth = np.array([classes.index(f.parent.name) for f in files])
    domain, out = np.array([f.parent.parent.name for f in files]), {}
    for template in TEMPLATES:
        right = (v @ model.texts([template.format(c) for c in classes]).T).argmax(1).numpy() == truth
        scores = {str(d): round(float(right[domain == d].mean()), 4) for d in sorted(set(domain))}
        out[template] = scores | {"mean": round(statistics.mean(scores.values()), 4)}
    return out


def style_accuracy(model: Model, icons: Icons, each: int = 250) -> dict[str, float]:
    """Style of held-out icons among the words of STYLES, the text naming the icon; with the mean over styles."""
    rng, template, out = np.random.default_rng(0), STYLE_TEMPLATES[0], {}
    styles = np.array([row["style"] for row in icons.rows])
    for number, style in enumerate(STYLES):
        index = np.sort(rng.choice(np.flatnonzero(icons.held_out & (styles == style)), each, replace=False))
        v = model.images([Image.fromarray(p.transpose(1, 2, 0)) for p in icons.batch(index, 1)])
        t = model.texts([template.format(icons.rows[i]["words"], s) for i in index for s in STYLES])
        guess = torch.einsum("bd,bsd->bs", v, t.view(each, len(STYLES), -1)).argmax(1)
        out[style] = round((guess == number).float().mean().item(), 4)
    return out | {"mean": round(statistics.mean(out.values()), 4)}


def cost(model: Model) -> dict[str, float]:
    """Multiply-adds of one picture in millions, and milliseconds a picture at batch 1 and 64 (best of 30)."""
    tower, out = model.clip.visual, {}
    size = tower.image_size[0]
    with FlopCounterMode(display=False) as counter:  # with gradients: the fused attention without them is not counted
        tower(torch.zeros(1, 3, size, size))
    for batch in (1, 64):
        x, times = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last), []
        for _ in range(30):
            start = time.perf_counter()
            with torch.inference_mode():
                tower(x)
            times.append(time.perf_counter() - start)
        out[f"ms_batch_{batch}"] = round(1000 * min(times) / batch, 3)
    return {"million_macs": round(counter.get_total_flops() / 2e6, 1), "parameters": sum(
        p.numel() for p in tower.parameters())} | out  # fmt: skip


def evaluate(work: Path) -> None:
    """Write ``towers.json`` with the figures of both exported folders, and print it."""
    icons, out = Icons(work), {}
    for folder in ("nano", "nano-student"):
        model = Model(work / "assets" / folder)
        size = (work / "assets" / folder / "open_clip_model.safetensors").stat().st_size
        out[folder] = {"bytes": size, "cost": cost(model), "style": style_accuracy(model, icons)}
        if (work / "pictograms" / "test").is_dir():
            out[folder]["pictograms"] = pictograms(model, work / "pictograms" / "test")
    (work / "towers.json").write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out, indent=1))
