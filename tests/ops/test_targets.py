"""Targets and the L1 against the golden numbers (eq. 4-5); every kind names the same class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from golden_models import error, golden
from promptstill.ops.losses import l1
from promptstill.ops.targets import TARGETS, centred

TOLERANCE = 1e-5


def numbers(name: str) -> Tensor:
    return golden("contrastive.safetensors")[f"target.{name}"]


def test_targets_and_predictions_are_the_references() -> None:
    images, texts = numbers("image_features"), numbers("text_features")
    spherical, cosine = TARGETS["spherical"], TARGETS["cosine"]
    assert error(spherical.scores(images, texts, 100.0), numbers("y_spherical")) < TOLERANCE
    assert error(cosine.scores(images, texts, 100.0), numbers("cosine")) < TOLERANCE
    for kind in (spherical, cosine):
        assert torch.equal(kind.predict(kind.scores(images, texts, 100.0)), numbers("prediction"))


def test_the_l1_and_its_gradient_are_the_references() -> None:
    student = numbers("student_out").clone().requires_grad_()
    loss = l1(student, numbers("y_spherical"))
    loss.backward()
    assert error(loss, numbers("l1_mean")) < TOLERANCE
    assert student.grad is not None
    assert error(student.grad, numbers("grad_student_out")) < TOLERANCE
    assert float(l1(numbers("student_out"), numbers("student_out"))) == 0


@pytest.mark.parametrize("name", TARGETS)
@given(seed=st.integers(0, 2**31))
def test_every_kind_names_the_nearest_class_also_when_centred(name: str, seed: int) -> None:
    drawn = torch.randn(9, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images, texts = drawn[:5], drawn[5:]
    nearest = torch.cosine_similarity(images[:, None], texts[None], dim=-1).argmax(-1)
    kind = TARGETS[name]
    scores = kind.scores(images, texts, 20.0)
    assert torch.equal(kind.predict(scores), nearest)
    assert torch.equal(kind.predict(centred(scores)), nearest)
    assert torch.equal((scores @ kind.reading(4).double().T).argmax(-1), nearest)
    torch.testing.assert_close(centred(scores).mean(-1), torch.zeros(5, dtype=torch.float64))


def test_kinds_differ_by_known_steps() -> None:
    images, texts = numbers("image_features"), numbers("text_features")
    found = {name: kind.scores(images, texts, 20.0) for name, kind in TARGETS.items()}
    torch.testing.assert_close(found["neg_spherical"], -found["spherical"])
    torch.testing.assert_close(found["logit"], 20 * found["cosine"])
    torch.testing.assert_close(found["prob"], found["logit"].softmax(-1))
    assert [name for name, kind in TARGETS.items() if kind.least_is_best] == ["spherical"]
