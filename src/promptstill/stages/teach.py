"""Names -> class vectors: the text tower runs here, once, and never in a loop of training or evaluation."""

import torch.nn.functional as F

from promptstill.artifacts import ClassVectors
from promptstill.data.templates import fill_all
from promptstill.models.clip import Clip
from promptstill.settings import Vectors


def class_vectors(teacher: Clip, names: tuple[str, ...], settings: Vectors) -> ClassVectors:
    """Zero-shot class vectors (K, D): unit features averaged over the templates, then made unit length again.

    PromptKD (CVPR 2024) sec. 3.3 with templates in place of learned prompts; DFKD-VLFM (ACM MM 2023) eq. 2.
    """
    texts = fill_all(settings.templates, names)
    features = teacher.embed_texts(texts).view(len(names), len(settings.templates), -1)
    vectors = F.normalize(features.mean(1), dim=-1)
    return ClassVectors(
        names=names,
        vectors=vectors.cpu().numpy(),
        scale=teacher.scale,
        templates=settings.templates,
        teacher=teacher.uri,
        teacher_hash=teacher.hash,
    )
