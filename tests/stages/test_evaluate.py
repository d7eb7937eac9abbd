"""Teacher and student are scored on the same images with the same class vectors."""

from pathlib import Path

import pytest
import torch

from promptstill.data.benchmarks import load_benchmark
from promptstill.data.images import open_images
from promptstill.errors import DataError
from promptstill.models.bundle import Bundle, load_bundle
from promptstill.models.clip import Clip
from promptstill.ops.preprocess import to_array, to_unit
from promptstill.settings import Evaluate
from promptstill.stages.evaluate import evaluate
from small_runs import CLASSES, distilled


@pytest.fixture(scope="module")
def bundle(clip: Clip, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("evaluate")
    distilled(clip, open_images(pictures), folder)
    return load_bundle(folder / "student")


def test_it_counts_what_a_plain_loop_counts(bundle: Bundle, clip: Clip, bench_dir: Path) -> None:
    benchmark = load_benchmark(f"dir:{bench_dir}")
    figures = evaluate(bundle, clip, benchmark, Evaluate(batch_size=4))
    bank = torch.from_numpy(bundle.vectors.vectors)
    for title, row in figures["domains"].items():
        right = {"teacher": 0, "student": 0}
        domain = benchmark.domains[title]
        for i, label in enumerate(domain.labels):
            wanted = CLASSES.index(benchmark.classes[label])
            for who, embed, pre in (
                ("teacher", clip.embed_images, clip.preprocess),
                ("student", bundle.student, bundle.student.architecture.preprocess),
            ):
                with torch.no_grad():
                    image = to_unit(to_array(domain.images.read(i), pre))[None]
                    right[who] += int((embed(image) @ bank.T).argmax()) == wanted
        assert row["n"] == 9
        assert {who: row[who] for who in right} == pytest.approx({who: 100 * n / 9 for who, n in right.items()})
        assert row["teacher_macro"] == pytest.approx(row["teacher"]), "all classes have as many images"
    assert figures["mean"]["student"] == pytest.approx(
        sum(row["student"] for row in figures["domains"].values()) / len(figures["domains"])
    )
    assert (figures["classes"], figures["chance"], figures["benchmark"]) == (3, pytest.approx(100 / 3), "bench")


def test_the_batch_size_does_not_matter(bundle: Bundle, clip: Clip, bench_dir: Path) -> None:
    benchmark = load_benchmark(f"dir:{bench_dir}")
    assert evaluate(bundle, clip, benchmark, Evaluate(batch_size=1)) == evaluate(bundle, clip, benchmark, Evaluate())


def test_without_a_teacher_the_student_stands_alone(bundle: Bundle, bench_dir: Path) -> None:
    figures = evaluate(bundle, None, load_benchmark(f"dir:{bench_dir}"), Evaluate())
    assert set(figures["mean"]) == {"student", "student_macro"}


def test_a_benchmark_without_the_classes_is_refused(bundle: Bundle, clip: Clip, tmp_path: Path) -> None:
    from tiny import make_benchmark

    with pytest.raises(DataError, match="none of the classes"):
        evaluate(bundle, clip, load_benchmark(f"dir:{make_benchmark(tmp_path, ('yak',))}"), Evaluate())
