"""What a student of DFKD-VLFM regresses (eq. 4-5), and how its outputs are read: the rule belongs to the target."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from promptstill.ops.guidance import spherical_distance
from promptstill.ops.losses import cosine_logits


@dataclass(frozen=True)
class TargetKind:
    """One number for each image and class, and whether the best class has the least or the largest.

    ``scores`` takes image embeddings (B, D), class vectors (K, D) and the teacher's scale, and returns (B, K).
    """

    scores: Callable[[Tensor, Tensor, float], Tensor]
    least_is_best: bool = False

    def predict(self, scores: Tensor) -> Tensor:
        """The best class of each row (B, K) -> (B,)."""
        return scores.argmin(-1) if self.least_is_best else scores.argmax(-1)

    def reading(self, classes: int) -> Tensor:
        """The matrix (K, K) that turns scores into logits, where the largest is best."""
        return -torch.eye(classes) if self.least_is_best else torch.eye(classes)


def _distance(features: Tensor, vectors: Tensor) -> Tensor:
    return spherical_distance(features.unsqueeze(1), vectors.unsqueeze(0))


def _logits(features: Tensor, vectors: Tensor, scale: float) -> Tensor:
    return cosine_logits(F.normalize(features, dim=-1), F.normalize(vectors, dim=-1), scale)


TARGETS: dict[str, TargetKind] = {
    "spherical": TargetKind(lambda x, t, _: _distance(x, t), least_is_best=True),  # the paper's words, taken literally
    "neg_spherical": TargetKind(lambda x, t, _: -_distance(x, t)),
    "cosine": TargetKind(lambda x, t, _: _logits(x, t, 1.0)),
    "logit": TargetKind(_logits),
    "prob": TargetKind(lambda x, t, scale: _logits(x, t, scale).softmax(-1)),
}


def centred(scores: Tensor) -> Tensor:
    """Scores (B, K) less each image's own mean, which tells nothing about its class."""
    return scores - scores.mean(-1, keepdim=True)
