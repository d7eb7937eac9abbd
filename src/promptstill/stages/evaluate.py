"""Student and teacher side by side on a benchmark, and what each of them costs."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from promptstill.artifacts import ClassVectors
from promptstill.data.benchmarks import Benchmark, Domain
from promptstill.data.predictions import TOP, Answers, Predictions
from promptstill.engine import progress
from promptstill.models.bundle import Bundle
from promptstill.models.clip import Clip
from promptstill.models.vectors import as_judged
from promptstill.ops.losses import cosine_logits
from promptstill.ops.metrics import accuracy
from promptstill.ops.preprocess import Preprocess, to_array, to_unit
from promptstill.settings import Evaluate

Embed = Callable[[Tensor], Tensor]


def evaluate(bundle: Bundle, teacher: Clip | None, benchmark: Benchmark, settings: Evaluate) -> dict[str, Any]:
    """Accuracy in per cent by domain over the student's classes; the teacher is scored with the same class vectors.

    Returns ``{"benchmark", "classes", "chance", "not_tested", "domains": {name: {"teacher", "student", "n", ...}},
    "mean": {...}}``; ``not_tested`` are the classes of which the benchmark has no picture.
    """
    return measure(bundle, teacher, benchmark, settings).figures


@dataclass(frozen=True)
class Measured:
    """The figures of :func:`evaluate`, what was said of every picture, and the student's embeddings (N, D) of them."""

    figures: dict[str, Any]
    predictions: Predictions
    features: np.ndarray


def measure(bundle: Bundle, teacher: Clip | None, benchmark: Benchmark, settings: Evaluate) -> Measured:
    """:func:`evaluate` with everything that was seen on the way."""
    scored = benchmark.restrict(bundle.vectors.names)
    student: tuple[Embed, Preprocess] = at_home(bundle.student.eval()), bundle.student.architecture.preprocess
    columns = {"student": student} | ({"teacher": (teacher.embed_images, teacher.preprocess)} if teacher else {})
    domains: dict[str, dict[str, Any]] = {}
    said: dict[str, list[Answers]] = {who: [] for who in columns}
    features: list[np.ndarray] = []
    with progress("evaluate", len(scored) * len(columns)) as ticker:
        for title, domain in scored.domains.items():
            labels, row = torch.tensor(domain.labels), {"n": len(domain.labels)}
            for who, (embed, pre) in columns.items():
                embedded = embed_domain(embed, pre, domain, settings.batch_size)
                judged = embedded if who == "student" else as_judged(embedded, bundle.vectors)
                said[who].append(answers(judged, bundle.reading if who == "student" else bundle.vectors))
                figures = accuracy(torch.from_numpy(said[who][-1].best), labels, len(bundle.vectors.names))
                if who == "student":
                    features.append(embedded.numpy().astype(np.float16))
                row |= {who: figures["micro"], f"{who}_macro": figures["macro"]}
                ticker.advance(len(labels))
            domains[title] = row
    mean = {who: statistics.fmean(row[who] for row in domains.values()) for who in columns}
    mean |= {f"{who}_macro": statistics.fmean(row[f"{who}_macro"] for row in domains.values()) for who in columns}
    chance = 100 / len(bundle.vectors.names)
    seen = {label for domain in scored.domains.values() for label in domain.labels}
    about = {"benchmark": benchmark.name, "classes": len(bundle.vectors.names), "chance": chance}
    about |= {"not_tested": [name for number, name in enumerate(bundle.vectors.names) if number not in seen]}
    kept = _predictions(scored, {who: Answers.join(parts) for who, parts in said.items()})
    return Measured(about | {"domains": domains, "mean": mean}, kept, np.concatenate(features))


def at_home(module: nn.Module, embed: Embed | None = None) -> Embed:
    """A module, or a way ``embed`` through it, that takes images (B, 3, S, S) from anywhere to its weights."""
    device, through = next(module.parameters()).device, embed or module
    return lambda images: through(images.to(device))


def _predictions(scored: Benchmark, said: dict[str, Answers]) -> Predictions:
    titles = [title for title, domain in scored.domains.items() for _ in domain.labels]
    ids = [name for domain in scored.domains.values() for name in domain.images.ids]
    labels = [label for domain in scored.domains.values() for label in domain.labels]
    return Predictions(scored.classes, np.array(titles), np.array(ids), np.array(labels), said)


def predict(embed: Embed, pre: Preprocess, domain: Domain, vectors: ClassVectors, batch_size: int) -> Tensor:
    """The best class of every image: (N,)."""
    return torch.from_numpy(answers(embed_domain(embed, pre, domain, batch_size), vectors).best)


def answers(features: Tensor, vectors: ClassVectors) -> Answers:
    """The best classes of embeddings (N, D), and their softmax probabilities."""
    scores = cosine_logits(features, torch.from_numpy(vectors.vectors), vectors.scale)
    probabilities, order = scores.softmax(-1).sort(dim=-1, descending=True, stable=True)
    return Answers(order[:, :TOP].numpy(), probabilities[:, :TOP].numpy())


@torch.no_grad()
def embed_domain(embed: Embed, pre: Preprocess, domain: Domain, batch_size: int) -> Tensor:
    """Unit embeddings of all images of a domain, on the CPU: (N, D)."""
    rows: list[Tensor] = []
    for start in range(0, len(domain.labels), batch_size):
        stop = min(start + batch_size, len(domain.labels))
        pixels = np.stack([to_array(domain.images.read(i), pre) for i in range(start, stop)])
        rows.append(embed(to_unit(pixels)).cpu())
    return torch.cat(rows)
