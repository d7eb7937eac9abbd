"""Names -> class vectors: the text tower runs here, once, and never in a loop of training or evaluation."""

import torch.nn.functional as F

from promptstill.artifacts import ClassVectors
from promptstill.data.templates import expand, fill_all
from promptstill.models.clip import Clip
from promptstill.settings import Vectors


def class_vectors(teacher: Clip, names: tuple[str, ...], settings: Vectors) -> ClassVectors:
    """Class vectors (K, D): unit features averaged over the templates, then made unit length again.

    A teacher with learned text prompts takes every name in the one text that they were learned in.
    PromptKD (CVPR 2024) sec. 3.3; DFKD-VLFM (ACM MM 2023) eq. 2.
    """
    templates = (teacher.template,) if teacher.template else expand(settings.templates)
    features = teacher.embed_texts(fill_all(templates, names)).view(len(names), len(templates), -1)
    vectors = F.normalize(features.mean(1), dim=-1)
    return ClassVectors(
        names=names,
        vectors=vectors.cpu().numpy(),
        scale=teacher.scale,
        templates=templates,
        teacher=teacher.uri,
        teacher_hash=teacher.hash,
    )
