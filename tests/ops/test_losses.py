"""The objectives are zero at equality, pull the student to the teacher, and mean the same at any batch size."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from promptstill.ops.losses import agreement, cosine_logits, embedding_terms, feature_distance, kl, l1, symmetric_kl

TERMS = ("kl", "symmetric", "l1", "feature")
SEEDS = st.integers(0, 2**31)
TEMPERATURES = st.floats(0.25, 8)


def logits(seed: int, rows: int = 4, classes: int = 5, spread: float = 3.0) -> Tensor:
    return spread * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def units(seed: int, rows: int = 4, dim: int = 6) -> Tensor:
    return F.normalize(logits(seed, rows, dim), dim=-1)


@given(SEEDS, TEMPERATURES)
def test_kl_is_zero_at_equality_and_nowhere_negative(seed: int, t: float) -> None:
    teacher, other = logits(seed), logits(seed + 1)
    assert abs(float(kl(teacher, teacher, t))) < 1e-12
    assert float(kl(teacher + 7, teacher, t)) == pytest.approx(0, abs=1e-12)  # logits mean the same when shifted
    assert float(kl(other, teacher, t)) > 0


@given(SEEDS, TEMPERATURES)
def test_kl_pulls_to_the_teacher_with_a_gradient_that_is_scaled_by_the_temperature(seed: int, t: float) -> None:
    teacher, student = logits(seed), logits(seed + 1).requires_grad_()
    kl(student, teacher, t).backward()
    wanted = t * ((student / t).softmax(-1) - (teacher / t).softmax(-1)) / len(student)
    assert student.grad is not None
    torch.testing.assert_close(student.grad, wanted.detach())


@given(SEEDS)
def test_at_high_temperature_kl_is_half_the_variance_of_the_difference(seed: int) -> None:
    teacher, student = logits(seed), logits(seed + 1)
    difference = student - teacher
    torch.testing.assert_close(
        kl(student, teacher, 1e4), difference.var(-1, correction=0).mean() / 2, rtol=1e-2, atol=1e-6
    )


@given(SEEDS, st.integers(1, 4))
def test_the_objective_does_not_depend_on_duplicating_the_batch(seed: int, times: int) -> None:
    student, teacher, vectors = units(seed), units(seed + 1), units(seed + 2, rows=5)
    once = embedding_terms(student, teacher, vectors, 20.0, 2.0, TERMS)
    more = embedding_terms(student.repeat(times, 1), teacher.repeat(times, 1), vectors, 20.0, 2.0, TERMS)
    assert once.keys() == more.keys() == set(TERMS)
    for name in once:
        torch.testing.assert_close(once[name], more[name])


@given(SEEDS)
def test_terms_vanish_when_the_student_is_the_teacher(seed: int) -> None:
    teacher, vectors = units(seed), units(seed + 2, rows=5)
    terms = embedding_terms(teacher, teacher, vectors, 20.0, 1.0, TERMS)
    assert all(abs(float(term)) < 1e-12 for term in terms.values())


@given(SEEDS)
def test_only_the_wanted_terms_are_computed(seed: int) -> None:
    teacher, vectors = units(seed), units(seed + 2, rows=5)
    for wanted in ({"kl"}, {"feature", "l1"}, set[str]()):
        assert embedding_terms(teacher, teacher, vectors, 20.0, 1.0, wanted).keys() == wanted


@given(SEEDS, TEMPERATURES)
def test_the_symmetric_kl_takes_both_sides_alike(seed: int, t: float) -> None:
    teacher, other = logits(seed), logits(seed + 1)
    both = symmetric_kl(other, teacher, t)
    torch.testing.assert_close(both, symmetric_kl(teacher, other, t))
    torch.testing.assert_close(both, (kl(other, teacher, t) + kl(teacher, other, t)) / 2)


def test_l1_is_the_mean_distance_of_scores() -> None:
    assert float(l1(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, 0], [3, 2]]))) == 1


@given(SEEDS)
def test_feature_distance_of_unit_vectors_is_two_minus_two_cosines(seed: int) -> None:
    student, teacher = units(seed), units(seed + 1)
    torch.testing.assert_close(feature_distance(student, teacher), (2 - 2 * (student * teacher).sum(-1)).mean())


@given(SEEDS)
def test_a_descent_step_on_each_term_comes_nearer_to_the_teacher(seed: int) -> None:
    teacher, vectors = units(seed), units(seed + 2, rows=5)
    for name in TERMS:
        raw = logits(seed + 1, *teacher.shape).requires_grad_()
        before = embedding_terms(F.normalize(raw, dim=-1), teacher, vectors, 5.0, 1.0, TERMS)[name]
        (slope,) = torch.autograd.grad(before, raw)
        after = embedding_terms(F.normalize(raw - 1e-3 * slope, dim=-1), teacher, vectors, 5.0, 1.0, TERMS)[name]
        assert float(after.detach()) < float(before.detach())


def test_scores_are_scaled_cosines() -> None:
    features = units(0)
    scores = cosine_logits(features, units(1, rows=3), 7.0)
    assert scores.shape == (4, 3)
    assert float(scores.abs().max()) <= 7
    torch.testing.assert_close(cosine_logits(features, features, 7.0).diagonal(), torch.full((4,), 7.0).double())


def test_agreement_counts_rows_with_the_same_best_class() -> None:
    student = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    teacher = torch.tensor([[9.0, 1], [1, 9], [1, 9], [1, 9]])
    assert float(agreement(student, teacher)) == 0.75
