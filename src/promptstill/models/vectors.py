"""Class vectors: what a text tower makes of class names, once. New names for a finished student are new vectors."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from promptstill.artifacts import ClassVectors
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import Bundle
from promptstill.models.clip import Clip
from promptstill.models.ensembles import Ensemble
from promptstill.models.teachers import load_teacher
from promptstill.ops.mixing import by_confidence
from promptstill.ops.templates import fill_all


def embed_classes(teacher: Clip, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit class vectors (K, D): unit features averaged over the templates, then made unit length again.

    A teacher with learned text prompts takes every name in the one text that they were learned in. An ensemble joins
    the vectors of its members. PromptKD (CVPR 2024) sec. 3.3; DFKD-VLFM (ACM MM 2023) eq. 2.
    """
    if isinstance(teacher, Ensemble):
        return teacher.join([embed_classes(member, names, templates) for member in teacher.members])
    texts = (teacher.template,) if teacher.template else tuple(templates)
    features = teacher.embed_texts(fill_all(texts, names)).view(len(names), len(texts), -1)
    return F.normalize(features.mean(1), dim=-1)


def make_vectors(
    teacher: Clip, names: Sequence[str], templates: Sequence[str], *, confidence: bool = False
) -> ClassVectors:
    """Class vectors as they are kept, with what they were made from.

    With ``confidence`` the members of an ensemble count as much as they are sure, see :func:`as_judged`.

    Raises:
        UsageError: ``confidence`` is asked of a single teacher.
        DataError: a name in its text is longer than the teacher's context.
    """
    members: tuple[int, ...] = ()
    if confidence:
        if not isinstance(teacher, Ensemble):
            raise UsageError(f"vectors.weights=confidence needs several teachers, {teacher.uri} is one; give A+B")
        members = tuple(member.dim for member in teacher.members)
    return ClassVectors(
        names=tuple(names),
        vectors=embed_classes(teacher, names, templates).cpu().numpy(),
        scale=teacher.scale,
        templates=(teacher.template,) if teacher.template else tuple(templates),
        teacher=teacher.uri,
        teacher_hash=teacher.hash,
        members=members,
    )


def as_judged(features: Tensor, vectors: ClassVectors) -> Tensor:
    """A teacher's unit embeddings (B, D) as its soft labels are to be read from them.

    They are what they were, unless the members of an ensemble are weighted by their confidence.
    """
    if not vectors.members:
        return features
    return by_confidence(features, torch.from_numpy(vectors.vectors).to(features), vectors.scale, vectors.members)


def retarget(bundle: Bundle, names: Sequence[str], uri: str | None = None) -> Bundle:
    """The same student for other classes: new vectors by the same teacher in the same templates, no training.

    ``uri`` is where the teacher is found now, if that is elsewhere.

    Raises:
        DataError: the teacher is not the student's: a student embeds into its own teacher's space.
        UsageError: the student has a head of its own in place of class vectors.
    """
    old = bundle.vectors
    if bundle.student.architecture.head:
        raise UsageError("the student has one output for each class that it learned; distil it again for new classes")
    teacher = load_teacher(uri or old.teacher)
    if teacher.hash != old.teacher_hash:
        here, there = teacher.hash[:12], old.teacher_hash[:12]
        raise DataError(f"the student learned from weights {there}..., {teacher.uri} has {here}...; give that teacher")
    vectors = make_vectors(teacher, names, old.templates, confidence=bool(old.members))
    return Bundle(bundle.student, vectors, bundle.config | {"labels": vectors.names})
