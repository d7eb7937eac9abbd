"""Class vectors are the zero-shot weights: unit means of unit text features."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from promptstill.errors import DataError
from promptstill.models.clip import Clip
from promptstill.settings import Vectors
from promptstill.stages.teach import class_vectors

TEMPLATES = ("a photo of a {}.", "A {}", "the {} in the rain")


def test_they_are_unit_means_over_the_templates(clip: Clip) -> None:
    made = class_vectors(clip, ("dog", "hot_air balloon"), Vectors(templates=TEMPLATES))
    texts = [template.format(name) for name in ("dog", "hot air balloon") for template in TEMPLATES]
    wanted = F.normalize(clip.embed_texts(texts).view(2, 3, -1).mean(1), dim=-1)
    torch.testing.assert_close(torch.from_numpy(made.vectors), wanted)
    assert made.names == ("dog", "hot_air balloon")
    assert made.scale == clip.scale
    assert made.teacher_hash == clip.hash


def test_one_template_gives_the_text_features_themselves(clip: Clip) -> None:
    made = class_vectors(clip, ("dog", "cat"), Vectors(templates=("A {}",)))
    torch.testing.assert_close(torch.from_numpy(made.vectors), clip.embed_texts(["A dog", "A cat"]))


def test_a_class_has_the_same_vector_whatever_stands_beside_it(clip: Clip) -> None:
    one = class_vectors(clip, ("cat",), Vectors())
    many = class_vectors(clip, ("dog", "cat", "owl"), Vectors())
    np.testing.assert_allclose(many.vectors[1], one.vectors[0], atol=1e-6)


def test_a_name_that_is_too_long_is_told_with_its_length(clip: Clip) -> None:
    with pytest.raises(DataError, match="over 24 tokens"):
        class_vectors(clip, ("dog " * 30,), Vectors())
