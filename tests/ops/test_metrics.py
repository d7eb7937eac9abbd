"""Accuracy over images and over the classes that occur."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from promptstill.ops.metrics import accuracy

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@given(PAIRS)
def test_micro_counts_images_and_macro_the_classes_that_occur(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    figures = accuracy(predicted, labels, 5)
    recalls = [float(predicted[labels == k].eq(k).float().mean()) for k in set(labels.tolist())]
    assert abs(figures["micro"] - 100 * float(predicted.eq(labels).float().mean())) < 1e-3
    assert abs(figures["macro"] - 100 * sum(recalls) / len(recalls)) < 1e-3


def test_a_class_that_is_only_predicted_does_not_count() -> None:
    assert accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), 3) == {"micro": 50.0, "macro": 50.0}


def test_one_class_is_always_right() -> None:
    assert accuracy(torch.zeros(3).long(), torch.zeros(3).long(), 1) == {"micro": 100.0, "macro": 100.0}
