"""Learning a teacher's prompts by PromptSRC (Khattak et al., ICCV 2023): its four terms, and the average over epochs.

The teacher of PromptKD is made this way. Symbols: f, g are the prompted unit features of images (B, D) and classes
(K, D); f0, g0 the same without prompts; s is exp(logit_scale).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from promptstill.ops.losses import cosine_logits, kl


def promptsrc_terms(
    images: Tensor, texts: Tensor, plain_images: Tensor, plain_texts: Tensor, labels: Tensor, scale: float
) -> dict[str, Tensor]:
    """The named terms, each to be multiplied with one weight, from f, g, f0, g0 and labels (B,).

    ``ce``      cross entropy of s f g^T with the labels
    ``text``    mean |g - g0| over all K x D entries                       (the paper's L_SCL-text)
    ``image``   mean |f - f0| over all B x D entries                       (L_SCL-image)
    ``logits``  batch mean of KL(softmax(s f0 g0^T) || softmax(s f g^T))   (L_SCL-logits)
    """
    logits = cosine_logits(images, texts, scale)
    return {
        "ce": F.cross_entropy(logits, labels),
        "text": F.l1_loss(texts, plain_texts),
        "image": F.l1_loss(images, plain_images),
        "logits": kl(logits, cosine_logits(plain_images, plain_texts, scale)),
    }


def promptsrc_weights(classes: int) -> dict[str, float]:
    """The weights of the public code for ``classes`` classes, as ours.

    It divides the sum of the last term by B K, we by B alone: its weight 1 is our 1 / K.
    """
    return {"ce": 1.0, "text": 25.0, "image": 10.0, "logits": 1.0 / classes}


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Terms times weights, summed; every term must have a weight."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def template_mean(features: Tensor) -> Tensor:
    """Text features (T, K, D) of T templates, as the tower gives them -> unit class vectors (K, D).

    PromptSRC averages before it normalises, so that longer features count for more; :mod:`promptstill.stages.teach`
    normalises first.
    """
    return F.normalize(features.mean(0), dim=-1)


def gaussian_weights(epochs: int, mean: float = 15.0, std: float = 1.0) -> Tensor:
    """Weights (epochs,) in float64 of the prompts after epoch 1, 2, ...: a normal density there, made to sum to one."""
    log_density = -0.5 * ((torch.arange(1, epochs + 1, dtype=torch.float64) - mean) / std).square()
    return log_density.softmax(0)  # normalises, and does not underflow when the mean lies far outside


def accumulate(total: Mapping[str, Tensor], tensors: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    """A running weighted sum in float64 of named tensors; begin with an empty ``total``."""
    added = {name: weight * tensor.detach().double() for name, tensor in tensors.items()}
    return {name: total[name] + tensor if name in total else tensor for name, tensor in added.items()}
