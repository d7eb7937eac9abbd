"""Accuracy as the papers report it."""

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
