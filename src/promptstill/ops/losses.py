"""Distillation objectives: pure, batch-mean, zero at equality."""

from collections.abc import Callable, Container

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_logits(features: Tensor, vectors: Tensor, scale: float | Tensor) -> Tensor:
    """Scores of unit features over unit class vectors: (B, D), (K, D) -> (B, K)."""
    return scale * features @ vectors.T


def kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Batch mean of ``T^2 KL(softmax(teacher / T) || softmax(student / T))`` over logits (B, K).

    PromptKD (CVPR 2024) eq. 5. Its code divides by B*K and multiplies by 1000 (or 200): that weight is ours times K.
    """
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def symmetric_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """The mean of :func:`kl` in both directions, over logits (B, K). KDPL (ECCV 2024)."""
    return (kl(student, teacher, temperature) + kl(teacher, student, temperature)) / 2


def l1(student: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of scores (B, K) over images and classes. DFKD-VLFM (ACM MM 2023) eq. 5."""
    return (student - target).abs().mean()


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Batch mean of the squared distance between unit embeddings (B, D), which is 2 - 2 cos."""
    return (student - teacher).square().sum(-1).mean()


def embedding_terms(
    student: Tensor, teacher: Tensor, vectors: Tensor, scale: float, t: float, wanted: Container[str]
) -> dict[str, Tensor]:
    """The wanted terms of the objective, from unit embeddings (B, D) of both and class vectors (K, D).

    ``kl``, ``symmetric``, ``l1`` (between logits) and ``feature``; ``t`` is the temperature.
    """
    scores, soft_labels = cosine_logits(student, vectors, scale), cosine_logits(teacher, vectors, scale)
    return score_terms(scores, soft_labels, t, wanted) | (
        {"feature": feature_distance(student, teacher)} if "feature" in wanted else {}
    )


def score_terms(scores: Tensor, targets: Tensor, t: float, wanted: Container[str]) -> dict[str, Tensor]:
    """The wanted terms that need scores (B, K) alone: ``kl``, ``symmetric`` and ``l1``."""
    makers: dict[str, Callable[[], Tensor]] = {
        "kl": lambda: kl(scores, targets, t),
        "symmetric": lambda: symmetric_kl(scores, targets, t),
        "l1": lambda: l1(scores, targets),
    }
    return {name: make() for name, make in makers.items() if name in wanted}


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Share of rows whose best class is the same, from logits (B, K)."""
    return torch.eq(student.argmax(-1), teacher.argmax(-1)).float().mean()
