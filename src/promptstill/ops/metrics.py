"""Accuracy as the papers report it."""

import statistics
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy


def accuracy(predicted: Tensor, labels: Tensor, classes: int) -> dict[str, float]:
    """Top-1 in per cent over (N,) indices: ``micro`` over images, ``macro`` over the classes that occur."""
    micro = predicted.eq(labels).float().mean()
    if classes == 1:
        return {"micro": 100 * float(micro), "macro": 100 * float(micro)}
    each = multiclass_accuracy(predicted, labels, num_classes=classes, average="none")
    macro = each[labels.unique()].mean()  # torchmetrics' own macro also counts classes that are only predicted
    return {"micro": 100 * float(micro), "macro": 100 * float(macro)}


def harmonic_mean(base: float, novel: float) -> float:
    """HM of two accuracies, as PromptKD and its kin report; zero if both are."""
    return 2 * base * novel / (base + novel) if base + novel else 0.0


def base_to_novel(scores: Tensor, labels: Tensor, base: Sequence[int]) -> dict[str, float]:
    """Accuracy in per cent from scores (N, K) and labels (N,), where ``base`` are the indices of the base classes.

    ``base`` and ``novel``: images of one half, told apart among the classes of that half alone (PromptKD, CVPR 2024,
    sec. 4.1); ``hm``: their harmonic mean; ``joint``: all images among all classes, which the papers leave out.
    """
    in_base = torch.zeros(scores.shape[1], dtype=torch.bool)
    in_base[list(base)] = True
    figures = {"joint": accuracy(scores.argmax(-1), labels, scores.shape[1])["micro"]}
    for name, half in (("base", in_base), ("novel", ~in_base)):
        rows = half[labels]
        found = scores[rows].masked_fill(~half, float("-inf")).argmax(-1)
        figures[name] = 100 * float(found.eq(labels[rows]).float().mean()) if rows.any() else 0.0
    return figures | {"hm": harmonic_mean(figures["base"], figures["novel"])}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation (0 for one value) over seeds."""
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}


def clusters(features: np.ndarray, labels: np.ndarray, neighbours: int = 5) -> dict[str, float | None]:
    """How well unit embeddings (N, D) fall into classes (N,), without any class vector.

    ``silhouette`` in [-1, 1] by cosine distance, or none where it is not defined: for one class alone, and for as many
    classes as images; ``knn``: accuracy in per cent of naming each image by its nearest
    others (leave one out, majority of ``neighbours``, ties to the nearer).
    """
    from sklearn.metrics import silhouette_score

    near = features.astype(np.float32) @ features.astype(np.float32).T
    np.fill_diagonal(near, -np.inf)
    votes = labels[np.argsort(-near, axis=1, kind="stable")[:, :neighbours]]
    named = [max(dict.fromkeys(row), key=row.tolist().count) for row in votes]  # the first of equals is the nearest
    defined = 1 < len(np.unique(labels)) < len(labels)
    silhouette = float(silhouette_score(features, labels, metric="cosine")) if defined else None
    return {"silhouette": silhouette, "knn": 100 * float(np.mean(np.array(named) == labels))}
