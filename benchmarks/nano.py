"""The embedded models on the embedded benchmark: zero-shot by domain, synonyms, reconstruction, sizes.

python benchmarks/nano.py
"""

import json
import statistics
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from main_job import DEMO
from promptstill.artifacts import ClassVectors
from promptstill.data.benchmarks import Benchmark, asset, load_benchmark
from promptstill.models.clip import Clip, load_clip
from promptstill.models.generator import VQGAN, load_vqgan
from promptstill.ops.cost import cost
from promptstill.ops.guidance import nearest_codes
from promptstill.ops.metrics import accuracy
from promptstill.ops.preprocess import Preprocess, to_array, to_unit
from promptstill.settings import Vectors
from promptstill.stages.evaluate import predict
from promptstill.stages.teach import class_vectors
from record import record

TEMPLATES = {"a photo of a {}.": Vectors(), "A {}": Vectors(templates=("A {}",))}


def zero_shot(clip: Clip, benchmark: Benchmark, vectors: ClassVectors) -> dict[str, float]:
    """Accuracy in per cent by domain, and their mean."""
    rows = {}
    for name, domain in benchmark.domains.items():
        found = predict(clip.embed_images, clip.preprocess, domain, vectors, 128)
        rows[name] = accuracy(found, torch.tensor(domain.labels), len(vectors.names))["micro"]
    return {name: round(value, 2) for name, value in rows.items()} | {"mean": round(statistics.fmean(rows.values()), 2)}


def with_synonyms(clip: Clip, benchmark: Benchmark) -> dict[str, float]:
    """Mean accuracy when every class goes by its first, or its second, other name."""
    synonyms = json.loads(asset("pictograms.json").read_text(encoding="utf-8"))["synonyms"]
    means = {}
    for number in (0, 1):
        names = tuple(synonyms[name][number] for name in benchmark.classes)
        means[f"synonym {number + 1}"] = zero_shot(clip, benchmark, class_vectors(clip, names, Vectors()))["mean"]
    return means


@torch.no_grad()
def reconstruction(generator: VQGAN, benchmark: Benchmark) -> dict[str, float]:
    """PSNR in dB of every test picture after encode, quantise, decode; share of the codes that they use."""
    size = generator.image_size or 64
    psnr, used = [], set()
    for domain in benchmark.domains.values():
        pixels = np.stack([to_array(domain.images.read(i), Preprocess(size)) for i in range(len(domain.labels))])
        for batch in to_unit(pixels).split(64):
            z = generator.model.encode(2 * batch - 1).latents.permute(0, 2, 3, 1)
            used |= set(nearest_codes(z, generator.codebook).unique().tolist())
            error = (generator.decode(z).clamp(0, 1) - batch).square().mean((1, 2, 3))
            psnr += (-10 * error.log10()).tolist()
    return {"psnr": round(statistics.fmean(psnr), 2), "codes_used": round(len(used) / len(generator.codebook), 3)}


def megabytes(name: str) -> float:
    """Size of an embedded model's folder."""
    folder = Path(str(files("promptstill.assets") / name))
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 2)


def main() -> None:
    """Measure and record."""
    benchmark, figures = load_benchmark("pictograms"), dict[str, Any]()
    for uri in ("nano", "nano-student"):
        clip = load_clip(uri)
        rows = {template: zero_shot(clip, benchmark, class_vectors(clip, benchmark.classes, settings))
                for template, settings in TEMPLATES.items()}  # fmt: skip
        figures[uri] = {"zero_shot": rows, "synonyms": with_synonyms(clip, benchmark)}
        ten = class_vectors(clip, DEMO, TEMPLATES["A {}"])
        figures[uri]["demo_classes"] = zero_shot(clip, benchmark.restrict(DEMO), ten)
        figures[uri]["cost"] = cost(clip.visual, clip.preprocess.size)
    figures["nano-vqgan"] = reconstruction(load_vqgan("nano-vqgan"), benchmark)
    figures["images"] = len(benchmark)
    figures["chance"] = 100 / len(benchmark.classes)
    figures["megabytes"] = {name: megabytes(name) for name in ("nano", "nano-student", "nano-vqgan", "pictograms")}
    record("nano", figures)


if __name__ == "__main__":
    main()
