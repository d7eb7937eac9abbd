"""Student and teacher side by side on a benchmark, and what each of them costs."""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptstill.artifacts import ClassVectors
from promptstill.data.benchmarks import Benchmark, Domain
from promptstill.engine import progress
from promptstill.models.bundle import Bundle
from promptstill.models.clip import Clip
from promptstill.ops.losses import cosine_logits
from promptstill.ops.metrics import accuracy
from promptstill.ops.preprocess import Preprocess, to_array, to_unit
from promptstill.settings import Evaluate

Embed = Callable[[Tensor], Tensor]


def evaluate(bundle: Bundle, teacher: Clip | None, benchmark: Benchmark, settings: Evaluate) -> dict[str, Any]:
    """Accuracy in per cent by domain over the student's classes; the teacher is scored with the same class vectors.

    Returns ``{"benchmark", "classes", "chance", "domains": {name: {"teacher", "student", "n", ...}}, "mean": {...}}``.
    """
    scored = benchmark.restrict(bundle.vectors.names)
    student: tuple[Embed, Preprocess] = bundle.student.eval(), bundle.student.architecture.preprocess
    columns = {"student": student} | ({"teacher": (teacher.embed_images, teacher.preprocess)} if teacher else {})
    domains: dict[str, dict[str, Any]] = {}
    with progress("evaluate", len(scored) * len(columns)) as ticker:
        for title, domain in scored.domains.items():
            labels, row = torch.tensor(domain.labels), {"n": len(domain.labels)}
            for who, (embed, pre) in columns.items():
                found = predict(embed, pre, domain, bundle.vectors, settings.batch_size)
                figures = accuracy(found, labels, len(bundle.vectors.names))
                row |= {who: figures["micro"], f"{who}_macro": figures["macro"]}
                ticker.advance(len(labels))
            domains[title] = row
    mean = {who: statistics.fmean(row[who] for row in domains.values()) for who in columns}
    mean |= {f"{who}_macro": statistics.fmean(row[f"{who}_macro"] for row in domains.values()) for who in columns}
    chance = 100 / len(bundle.vectors.names)
    about = {"benchmark": benchmark.name, "classes": len(bundle.vectors.names), "chance": chance}
    return about | {"domains": domains, "mean": mean}


@torch.no_grad()
def predict(embed: Embed, pre: Preprocess, domain: Domain, vectors: ClassVectors, batch_size: int) -> Tensor:
    """The best class of every image: (N,)."""
    bank, rows = torch.from_numpy(vectors.vectors), []
    for start in range(0, len(domain.labels), batch_size):
        stop = min(start + batch_size, len(domain.labels))
        pixels = np.stack([to_array(domain.images.read(i), pre) for i in range(start, stop)])
        features = embed(to_unit(pixels)).cpu()
        rows.append(cosine_logits(features, bank, 1.0).argmax(-1))
    return torch.cat(rows)
