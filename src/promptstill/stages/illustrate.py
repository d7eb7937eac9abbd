"""What a report shows beside its figures: pictures that were learned from, confident mistakes, a map of features."""

import base64
import importlib.util
import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from promptstill.artifacts import ClassVectors, Prompts
from promptstill.data.benchmarks import Benchmark
from promptstill.data.images import Images
from promptstill.data.predictions import Predictions
from promptstill.errors import DataError
from promptstill.models.clip import Clip
from promptstill.models.vectors import as_judged
from promptstill.ops.losses import cosine_logits
from promptstill.ops.preprocess import to_array, to_unit

SIDE = 112  # pixels of a small picture
MOST_POINTS = 800


def thumbnail(picture: Image.Image) -> str:
    """A small square WebP of a picture, as a data URI."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small = picture.crop((left, top, left + side, top + side))
    small = small.resize((min(side, SIDE), min(side, SIDE)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


@torch.no_grad()
def sheet(
    images: Images, prompts: Prompts | None, teacher: Clip, vectors: ClassVectors, count: int = 24
) -> list[dict[str, Any]]:
    """Evenly spaced pictures of those that were learned from, with the teacher's soft labels and their prompts."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)).tolist()
    pictures = [images.read(index) for index in chosen]
    pixels = to_unit(np.stack([to_array(picture, teacher.preprocess) for picture in pictures]))
    bank = torch.from_numpy(vectors.vectors)
    scores = cosine_logits(as_judged(teacher.embed_images(pixels).cpu(), vectors), bank, vectors.scale).softmax(-1)
    shown: list[dict[str, Any]] = []
    for index, picture, row in zip(chosen, pictures, scores, strict=True):
        best = row.argsort(descending=True)[:3].tolist()
        labels = [[vectors.names[k], round(float(row[k]), 4)] for k in best]
        facts: dict[str, Any] = {"image": thumbnail(picture), "labels": labels}
        if prompts is not None:
            asked = int(prompts.labels[index])
            facts |= {"prompt": prompts.texts[index], "class": vectors.names[asked], "score": float(row[asked])}
        shown.append(facts)
    return shown


def mistakes(predictions: Predictions, benchmark: Benchmark, count: int = 24) -> list[dict[str, Any]]:
    """The test pictures that the student named wrongly with the most confidence."""
    said, teacher = predictions.answers["student"], predictions.answers.get("teacher")
    wrong = np.flatnonzero(said.best != predictions.labels)
    shown: list[dict[str, Any]] = []
    for row in wrong[np.argsort(-said.confidence[wrong], kind="stable")][:count].tolist():
        domain = str(predictions.domains[row])
        images = benchmark.domains[domain].images
        try:
            image = thumbnail(images.read(images.ids.index(str(predictions.ids[row]))))
        except (DataError, ValueError):
            continue  # a test picture that has gone is missed by nobody here
        facts = {"domain": domain, "class": predictions.names[predictions.labels[row]], "image": image}
        facts |= {"said": predictions.names[said.best[row]], "confidence": round(float(said.confidence[row]), 4)}
        if teacher is not None:
            facts["teacher"] = predictions.names[teacher.best[row]]
        shown.append(facts)
    return shown


def feature_map(features: np.ndarray, seed: int) -> dict[str, Any] | None:
    """t-SNE of unit embeddings (N, D): which rows were taken, and their points (n, 2); nothing for very few.

    van der Maaten and Hinton, Visualizing Data using t-SNE (JMLR 2008), by scikit-learn if it is installed.
    """
    if len(features) < 10 or importlib.util.find_spec("sklearn") is None:
        return None
    from sklearn.manifold import TSNE

    rows = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST_POINTS)).round().astype(int))
    spread = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), init="random", random_state=seed % 2**32)
    points = spread.fit_transform(features[rows].astype(np.float32))
    return {"rows": rows.tolist(), "points": np.round(points, 2).tolist()}
