"""Accuracy over images and over the classes that occur."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from promptstill.ops.metrics import accuracy, base_to_novel, clusters, harmonic_mean, spread

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


@given(st.floats(0, 100), st.floats(0, 100))
def test_the_harmonic_mean_lies_between_and_nearer_the_lower(base: float, novel: float) -> None:
    mean = harmonic_mean(base, novel)
    assert min(base, novel) - 1e-9 <= mean <= (base + novel) / 2 + 1e-9
    assert mean == harmonic_mean(novel, base)


def test_published_harmonic_means() -> None:
    assert abs(harmonic_mean(86.96, 80.73) - 83.73) < 0.01  # PromptKD's average: HM of the averages


def test_halves_are_told_apart_among_themselves_and_all_among_all() -> None:
    scores = torch.tensor([[1.0, 0, 9, 0], [2, 3, 0, 9], [0, 0, 1, 5], [9, 0, 2, 1]])
    figures = base_to_novel(scores, torch.tensor([0, 0, 3, 2]), base=[0, 1])
    assert figures["base"] == 50  # the first is right among base classes only
    assert figures["novel"] == 100
    assert figures["joint"] == 25
    assert abs(figures["hm"] - 200 / 3) < 1e-6


def test_a_single_seed_has_no_spread() -> None:
    assert spread([3.0]) == {"mean": 3.0, "sd": 0.0}
    assert spread([1.0, 3.0]) == {"mean": 2.0, "sd": 2**0.5}


def test_tight_classes_are_found_without_class_vectors() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    features = np.eye(3)[labels] + 0.1 * rng.normal(size=(30, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert clusters(unit, labels)["knn"] == 100
    tight, mixed = clusters(unit, labels), clusters(unit, rng.permutation(labels))
    assert tight["silhouette"] is not None
    assert mixed["silhouette"] is not None
    assert mixed["silhouette"] < 0.1 < 0.8 < tight["silhouette"]
    assert mixed["knn"] is not None
    assert mixed["knn"] < 70


@pytest.mark.parametrize("labels", [(0, 0, 0), (0, 1, 2)])
def test_without_a_pair_of_classes_there_is_no_silhouette(labels: tuple[int, ...]) -> None:
    assert clusters(np.eye(3), np.array(labels))["silhouette"] is None


def test_neighbours_vote_and_the_nearest_decides_a_tie() -> None:
    angles = np.array([0.0, 0.1, 0.15, 1.5])
    unit = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert clusters(unit, np.array([0, 0, 1, 1]), neighbours=2)["knn"] == 50
