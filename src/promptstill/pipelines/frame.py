"""What both stories share: the cast (teacher, student, benchmark), and the stages that do not differ."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from promptstill.artifacts import ClassVectors, Run, write_json
from promptstill.data.benchmarks import Benchmark, load_benchmark
from promptstill.data.images import Images
from promptstill.data.index import check_images
from promptstill.engine import Stopper, make_fabric, stream_seed, tracked
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import Bundle, load_bundle
from promptstill.models.clip import Clip
from promptstill.models.learner import what_learns
from promptstill.models.student import Head, PromptShape, Student, make_student
from promptstill.models.teachers import load_teacher
from promptstill.settings import Evaluate, RunSettings
from promptstill.stages.distill import distill, prepare
from promptstill.stages.evaluate import evaluate
from promptstill.stages.teach import class_vectors

SHOWN = 3  # damaged pictures that are named


@dataclass(frozen=True)
class Frame:
    """An open run with everything loaded that can be refused, so that bad input is told before any long work."""

    settings: RunSettings
    run: Run
    stopper: Stopper
    fabric: Fabric
    teacher: Clip
    student: Student
    benchmark: Benchmark | None

    def teach(self) -> ClassVectors:
        """``1-vectors``."""

        def make(folder: Path) -> None:
            class_vectors(self.teacher, self.settings.classes, self.settings.vectors).save(folder)

        return self.run.once("1-vectors", make, ClassVectors.load)

    def distill(self, images: Images, vectors: ClassVectors) -> Bundle:
        """``4-student``: the one stage that learns, and it gets nothing that tells where the images came from."""

        def make(folder: Path) -> dict[str, Any]:
            chosen, seed = self.settings.distill, self.settings.seed
            inside = self.run.folder / "3-images" / "teacher-store"
            store = (self.settings.store or inside) if self.settings.teacher_mode == "store" else None
            lesson = prepare(self.teacher, self.student, images, vectors, chosen, seed, store, self.stopper)
            return distill(self.student, lesson, self.fabric, folder, self.stopper, self.run.metric, judge)

        def measured(student: Student) -> float:
            assert self.benchmark is not None
            chosen = self.settings.evaluate
            return evaluate(Bundle(student, vectors, {}), None, self.benchmark, chosen)["mean"]["student"]

        judge = measured if self.benchmark is not None else None

        return self.run.once("4-student", make, load_bundle)


@contextmanager
def framed(settings: RunSettings) -> Generator[Frame]:
    """Open, or continue, the run in ``settings.out`` with its cast."""
    fabric = make_fabric(settings.device, settings.precision)
    if settings.store and settings.store.exists() and not settings.store.is_dir():
        raise UsageError(f"cannot keep a teacher store in {settings.store}: it is no folder; choose another --store")
    teacher = load_teacher(settings.teacher).to(fabric.device)
    student = cast_student(settings, teacher)
    benchmark = open_benchmark(settings.benchmark, settings.classes) if settings.benchmark else None
    if benchmark and not (settings.out / "config.yaml").is_file():  # they were looked at when the run began
        refuse_damaged(benchmark)
    with Run.open(settings.out, settings) as run, Stopper().listening() as stopper:
        yield Frame(settings, run, stopper, fabric, teacher, student, benchmark)


def cast_student(settings: RunSettings, teacher: Clip) -> Student:
    """The student that the settings ask for, ready to learn. One whose projector alone learns gets no prompts.

    Raises:
        UsageError: it cannot be had, or cannot learn as the settings say: now, and not after hours.
    """
    chosen, draw = settings.distill, stream_seed(settings.seed, "student")
    prompts = None if chosen.train == "projector" else PromptShape(chosen.prompt_depth, chosen.prompt_length)
    head = None if chosen.target == "embedding" else Head(chosen.target, len(settings.classes))
    size, weights = chosen.image_size, settings.student_weights
    student = make_student(settings.student, teacher, size, weights, draw, prompts, head, chosen.share)
    what_learns(student, chosen)
    if chosen.select == "test" and not settings.benchmark:
        raise UsageError("distill.select=test needs a --benchmark; give one, or keep the last epoch with select=last")
    return student


def open_benchmark(uri: str, classes: Sequence[str]) -> Benchmark:
    """The part of a benchmark that has these classes, refused if there is none."""
    return load_benchmark(uri).restrict(classes)


def refuse_damaged(benchmark: Benchmark) -> None:
    """Raise :class:`DataError` for test pictures that cannot be read: all of them are told, before any long work."""
    _, bad = check_images(benchmark.labelled.images, progress=partial(tracked, "check test pictures"))
    if bad:
        first = ", ".join(f"{each.id} ({each.reason})" for each in bad[:SHOWN])
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"{len(bad)} of {len(benchmark)} test pictures of {benchmark.name} cannot be read: {first}{more}; "
            "replace or remove them"
        )


def evaluate_student(
    student: str | Path, benchmark: str, teacher: str | None = None, json: Path | None = None
) -> dict[str, Any]:
    """Score a finished student, and its teacher, on a benchmark; optionally write the figures to a JSON file.

    ``teacher`` is the one named in the bundle unless given.
    """
    if json:
        _refuse_place(json)
    bundle = load_bundle(Path(student))
    scored = open_benchmark(benchmark, bundle.vectors.names)
    refuse_damaged(scored)
    figures = evaluate(bundle, load_teacher(teacher or bundle.vectors.teacher), scored, Evaluate())
    if json:
        write_json(json, figures)
    return figures


def _refuse_place(path: Path) -> None:
    """Make the folder of a file, and raise :class:`UsageError` now if the file could not be written later."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); choose another place") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: no file can be made there; choose another place")
