"""How far a model's confidence can be trusted."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bin:
    """Pictures whose confidence lies in one interval: how many, their mean confidence, the share that was right."""

    count: int
    confidence: float
    accuracy: float


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[Bin]:
    """Equal-width bins over [0, 1] from confidences (N,) and whether each answer was right (N,); empty ones left out.

    Guo et al., On Calibration of Modern Neural Networks (ICML 2017), sec. 2.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    chosen = (place == number for number in range(bins))
    return [Bin(int(m.sum()), float(confidence[m].mean()), float(right[m].mean())) for m in chosen if m.any()]


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error (eq. 3): mean distance of accuracy and confidence, weighted by count; in [0, 1]."""
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / max(total, 1)
