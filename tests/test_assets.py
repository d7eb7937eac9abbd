"""What ships inside: the nano models and the pictograms load through the same code as anything else, and are good."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from promptstill.data.benchmarks import Benchmark, asset, load_benchmark
from promptstill.models.clip import Clip, load_clip
from promptstill.models.generator import load_generator
from promptstill.models.student import make_student
from promptstill.ops.preprocess import to_array, to_unit
from promptstill.settings import Vectors
from promptstill.stages.teach import class_vectors

SAMPLE = 200
MEGABYTES = 40


@pytest.fixture(scope="module")
def nano() -> Clip:
    return load_clip("nano")


@pytest.fixture(scope="module")
def pictograms() -> Benchmark:
    return load_benchmark("pictograms")


def test_together_they_are_small() -> None:
    root = asset().parent
    sizes = {name: sum(p.stat().st_size for p in (root / name).rglob("*") if p.is_file()) for name in (
        "nano", "nano-student", "nano-vqgan", "pictograms")}  # fmt: skip
    assert all(sizes.values()), sizes
    assert sum(sizes.values()) < MEGABYTES * 1e6, sizes


def test_the_teacher_names_pictograms_far_above_chance(nano: Clip, pictograms: Benchmark) -> None:
    vectors = torch.from_numpy(class_vectors(nano, pictograms.classes, Vectors()).vectors)
    every = [(domain, i) for domain in pictograms.domains.values() for i in range(len(domain.labels))]
    chosen = np.random.default_rng(0).choice(len(every), SAMPLE, replace=False)
    pixels = np.stack([to_array(every[k][0].images.read(every[k][1]), nano.preprocess) for k in chosen])
    labels = torch.tensor([every[k][0].labels[every[k][1]] for k in chosen])
    with torch.no_grad():
        found = (nano.embed_images(to_unit(pixels)) @ vectors.T).argmax(-1)
    assert float(found.eq(labels).float().mean()) > 5 / len(pictograms.classes)


def test_the_student_and_the_generator_load_like_any_other(nano: Clip) -> None:
    student = make_student("nano-student", nano, None, None, 0)
    size = student.architecture.preprocess.size
    assert student.eval()(torch.rand(1, 3, size, size)).shape == (1, nano.dim)
    teacher, own = (sum(p.numel() for p in module.parameters()) for module in (nano.visual, student))
    assert own < teacher
    generator = load_generator("nano-vqgan")
    assert generator.image_size
    assert generator.trained_on != "not stated by its makers"


def test_pictograms_halves_partition_the_classes(pictograms: Benchmark) -> None:
    assert set(pictograms.base) | set(pictograms.novel) == set(pictograms.classes)
    assert not set(pictograms.base) & set(pictograms.novel)
    assert abs(len(pictograms.base) - len(pictograms.novel)) <= 1


def test_no_test_picture_is_in_train_and_train_has_no_classes() -> None:
    test, train = (pq.read_table(asset(f"{part}.parquet")).to_pylist() for part in ("test", "train"))
    assert test
    assert train
    assert not {row["id"] for row in test} & {row["id"] for row in train}
    assert not {row["image"] for row in test} & {row["image"] for row in train}
    assert all(row["class"] is None for row in train)


def test_every_pictogram_opens_and_has_a_licence(pictograms: Benchmark) -> None:
    about = json.loads(asset("pictograms.json").read_text(encoding="utf-8"))
    for domain in pictograms.domains.values():
        assert all(min(domain.images.read(i).size) == about["size"] for i in range(len(domain.images)))
    for part in ("test", "train"):
        assert all(pq.read_table(asset(f"{part}.parquet"), columns=["licence"])["licence"].to_pylist())
