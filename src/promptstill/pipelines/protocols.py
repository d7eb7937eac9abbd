"""PromptKD's protocols from end to end: tune the teacher, distil the student, score both, print the paper's table.

Each seed of each data set is a folder ``OUT/SET-SEED`` with the runs of ``teach`` and ``from-images`` inside, so that a
protocol that was stopped goes on where it stopped. Nothing is selected on test images.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptstill.artifacts import ClassVectors, Run, read_json, write_atomic, write_json
from promptstill.data.benchmarks import Domain
from promptstill.data.labelled import TEST_ONLY, Labelled, open_labelled, parse
from promptstill.data.sets.base import key
from promptstill.engine import make_fabric
from promptstill.errors import DataError
from promptstill.measuring import BaseToNovel, Protocol, Transfer
from promptstill.models.bundle import load_bundle
from promptstill.models.teachers import PROMPTED, load_teacher
from promptstill.ops.metrics import accuracy, base_to_novel
from promptstill.ops.preprocess import Preprocess
from promptstill.pipelines import from_images, teach
from promptstill.pipelines.frame import cast_student
from promptstill.pipelines.plan import Need, plan_from_images
from promptstill.pipelines.tables import TABLES, Rows, gathered
from promptstill.settings import FromImages, Teach, Vectors
from promptstill.stages.evaluate import Embed, at_home, embed_domain
from promptstill.stages.report import versions
from promptstill.stages.teach import class_vectors

SCORES = "scores.json"
Judge = Callable[[Tensor, Tensor], dict[str, float]]  # scores (N, K) and labels (N,) -> figures


@dataclass(frozen=True)
class Task:
    """One data set under test: what the student may see without labels, and what it is tested on."""

    uri: str
    title: str
    train: Labelled  # of a set that is there to test with, its test images
    test: Labelled

    @property
    def slug(self) -> str:
        """A name for its folders."""
        return slug(self.uri)


def slug(uri: str) -> str:
    """A name for the folders of a data set, another for every place on disk."""
    kind, place = parse(uri)
    return kind if not place else f"{kind}-{hashlib.sha256(uri.encode()).hexdigest()[:6]}"


def run_base_to_novel(settings: BaseToNovel) -> dict[str, Any]:
    """Run, or continue, base-to-novel generalisation; ``OUT/{result.json, table.md}``."""
    tasks = [open_task(uri) for uri in settings.data]
    same = next((task.uri for task in tasks if same_images(task)), None)
    if same:
        raise DataError(f"{same} has the same images for training and test; give a set with a train and a test split")
    _refuse_bad_cast(settings, tasks[0])
    with Run.open(settings.out, settings) as run:
        rows: dict[str, dict[str, Any]] = {}
        for task in tasks:
            for seed in settings.seeds:
                score = partial(_score_halves, settings, task, seed)
                rows.setdefault(task.title, {})[str(seed)] = _once(run, f"{task.slug}-{seed}", score)
        return _finish(settings, "base-to-novel", tasks, rows)


def run_transfer(settings: Transfer) -> dict[str, Any]:
    """Run, or continue, cross-data-set evaluation or domain generalisation: the same thing on other data."""
    source, tasks = open_task(settings.source), [open_task(uri) for uri in settings.data]
    _refuse_bad_cast(settings, tasks[0])
    with Run.open(settings.out, settings) as run:
        rows: dict[str, dict[str, Any]] = {}
        for task in tasks:
            for seed in settings.seeds:
                score = partial(_score_whole, settings, source, task, seed)
                rows.setdefault(task.title, {})[str(seed)] = _once(run, f"{task.slug}-{seed}", score)
        return _finish(settings, "transfer", tasks, rows)


def run(settings: Protocol) -> dict[str, Any]:
    """Run, or continue, the protocol that these settings are of; returns what ``result.json`` holds."""
    if isinstance(settings, BaseToNovel):
        return run_base_to_novel(settings)
    assert isinstance(settings, Transfer)
    return run_transfer(settings)


def plan(settings: Protocol) -> list[Need]:
    """``--dry-run``: the needs of one seed, times the seeds."""
    needs: list[Need] = []
    for task in map(open_task, settings.data):
        asked = _student_settings(settings, task, settings.teacher, settings.seeds[0], settings.out)
        each = plan_from_images(asked.model_copy(update={"benchmark": task.uri}))
        needs += [_times(need, f"{task.title}: {need.stage}", len(settings.seeds)) for need in each]
    teachers = 1 if settings.one_teacher else len(settings.seeds)
    for task in map(open_task, _sources(settings)):
        names = task.train.base if isinstance(settings, BaseToNovel) else task.train.classes
        each = teach.plan(_teacher_settings(settings, task, names, settings.seeds[0]))
        needs += [_times(need, f"{task.title}, teacher: {need.stage}", teachers) for need in each]
    return needs


def _times(need: Need, stage: str, count: int) -> Need:
    return Need(stage, need.images * count, need.seconds * count, need.megabytes * count)


def _sources(settings: Protocol) -> tuple[str, ...]:
    """What teachers are tuned on."""
    if not settings.shots or settings.teacher.startswith(PROMPTED):
        return ()
    return (settings.source,) if isinstance(settings, Transfer) else settings.data


# ------------------------------------------------------------------------------------------------- one seed of one set


def _score_halves(settings: BaseToNovel, task: Task, seed: int, folder: Path) -> None:
    teacher = _tuned(settings, task, task.train.base, seed)
    _distil(settings, task, teacher, seed, folder / "student")
    names = task.train.classes
    base = [names.index(name) for name in task.train.base]

    def judge(scores: Tensor, labels: Tensor) -> dict[str, float]:
        return base_to_novel(scores, labels, base)

    write_json(folder / SCORES, _scores(settings, task, teacher, folder / "student", judge))


def _score_whole(settings: Transfer, source: Task, task: Task, seed: int, folder: Path) -> None:
    teacher = _tuned(settings, source, source.train.classes, seed)
    _distil(settings, task, teacher, seed, folder / "student")

    def judge(scores: Tensor, labels: Tensor) -> dict[str, float]:
        figures = accuracy(scores.argmax(-1), labels, scores.shape[1])
        return {"accuracy": figures["micro"], "macro": figures["macro"]}

    write_json(folder / SCORES, _scores(settings, task, teacher, folder / "student", judge))


def _tuned(settings: Protocol, task: Task, names: tuple[str, ...], seed: int) -> str:
    """The teacher's URI, tuned on few shots of these classes unless it is to be taken as it is."""
    if not _sources(settings):
        return settings.teacher
    asked = _teacher_settings(settings, task, names, settings.seeds[0] if settings.one_teacher else seed)
    teach.run(asked)
    return f"{PROMPTED}{asked.out}"


def _teacher_settings(settings: Protocol, task: Task, names: tuple[str, ...], seed: int) -> Teach:
    return Teach(
        images=task.uri,
        out=settings.out / f"teacher-{task.slug}-{seed}",
        classes=names,
        teacher=settings.teacher,
        shots=settings.shots,
        seed=seed,
        device=settings.device,
        precision=settings.precision,
        tune=settings.tune,
    )


def _distil(settings: Protocol, task: Task, teacher: str, seed: int, out: Path) -> None:
    from_images.run(_student_settings(settings, task, teacher, seed, out))


def _student_settings(settings: Protocol, task: Task, teacher: str, seed: int, out: Path) -> FromImages:
    return FromImages(
        images=task.uri,
        classes=task.train.classes,
        out=out,
        teacher=teacher,
        student=settings.student,
        student_weights=settings.student_weights,
        benchmark=task.uri if settings.distill.select == "test" else None,
        seed=seed,
        store=settings.store,
        device=settings.device,
        precision=settings.precision,
        vectors=Vectors(templates=(task.test.template,)),
        distill=settings.distill,
    )


def _scores(settings: Protocol, task: Task, teacher: str, student: Path, judge: Judge) -> dict[str, Any]:
    """What ``judge`` says of teacher and student, and of both as they were before they learned."""
    bundle, device = load_bundle(student), make_fabric(settings.device).device
    names, vectors = task.train.classes, Vectors(templates=(task.test.template,))
    tuned = load_teacher(teacher).to(device)
    cast: dict[str, tuple[Embed, Preprocess, ClassVectors]] = {
        "student": (at_home(bundle.student.eval().to(device)), bundle.student.architecture.preprocess, bundle.reading),
        "teacher": (tuned.embed_images, tuned.preprocess, bundle.vectors),
    }
    before = {"teacher zero-shot": settings.teacher} if teacher != settings.teacher else {}
    before |= {"student zero-shot": uri} if (uri := own_clip(settings.student)) else {}
    for title, uri in before.items():
        clip = load_teacher(uri).to(device)
        cast[title] = (clip.embed_images, clip.preprocess, class_vectors(clip, names, vectors))
    test = task.test.restrict(names)
    labels, domain = torch.tensor(test.labels), Domain(test.images, test.labels)
    found: dict[str, Any] = {}
    for title, (embed, pre, rows) in cast.items():
        features = embed_domain(embed, pre, domain, settings.evaluate.batch_size)
        found[title] = judge(features @ torch.from_numpy(rows.vectors).T, labels)
    return found


def own_clip(student: str) -> str | None:
    """The CLIP whose image tower a student begins as, and so its own zero-shot; none for a timm student."""
    uri = student.removeprefix(PROMPTED)
    return None if uri.startswith("timm:") else uri


# ---------------------------------------------------------------------------------------------------- before any work


def open_task(uri: str) -> Task:
    """A data set by URI.

    Raises:
        DataError: a class is tested that is not in the training split.
    """
    test = open_labelled(uri, "test")
    train = test if parse(uri)[0] in TEST_ONLY else open_labelled(uri, "train")
    known = {key(name) for name in train.classes}
    unseen = [name for name in test.classes if key(name) not in known]
    if unseen:
        raise DataError(f"{uri} tests {unseen[0]!r}, which its training split has not; move it away")
    return Task(uri, test.name, train, test)


def same_images(task: Task) -> bool:
    """Whether training and test split are the same images: then a student adapts to what it is tested on."""
    if task.train.images.ids != task.test.images.ids:
        return False
    look = range(0, len(task.train), max(1, len(task.train) // 10))
    return all(task.train.images.data(i) == task.test.images.data(i) for i in look)


def _refuse_bad_cast(settings: Protocol, task: Task) -> None:
    """Load teacher and student once, so that what cannot be is told before the tuning."""
    asked = _student_settings(settings, task, settings.teacher, settings.seeds[0], settings.out)
    cast_student(asked, load_teacher(settings.teacher))


def _once(run: Run, name: str, score: Callable[[Path], None]) -> dict[str, Any]:
    return run.once(name, score, lambda folder: read_json(folder / SCORES))


def _finish(settings: Protocol, kind: str, tasks: Sequence[Task], rows: Rows) -> dict[str, Any]:
    """Write ``result.json`` and ``table.md``."""
    content = {
        "protocol": kind,
        "settings": settings.model_dump(mode="json"),
        "sets": gathered(rows),
        "adapted_to_test_images": [task.title for task in tasks if same_images(task)],
        "selected_on_test_data": settings.distill.select == "test",
        "versions": versions(),
    }
    write_json(settings.out / "result.json", content)
    write_atomic(settings.out / "table.md", TABLES[kind](content))
    return content
