"""Distillation objectives: pure, batch-mean, zero at equality."""

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


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Batch mean of the squared distance between unit embeddings (B, D), which is 2 - 2 cos."""
    return (student - teacher).square().sum(-1).mean()


def distillation_terms(student: Tensor, teacher: Tensor, vectors: Tensor, scale: float, t: float) -> dict[str, Tensor]:
    """The named terms of the objective, from unit embeddings (B, D) of both and class vectors (K, D)."""
    soft_labels = cosine_logits(teacher, vectors, scale)
    return {
        "kl": kl(cosine_logits(student, vectors, scale), soft_labels, t),
        "feature": feature_distance(student, teacher),
    }


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Share of rows whose best class is the same, from logits (B, K)."""
    return torch.eq(student.argmax(-1), teacher.argmax(-1)).float().mean()
