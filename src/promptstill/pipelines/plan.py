"""``--dry-run``: the stages, images, disk and time a run will need, from a probe of a few seconds."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from promptstill.artifacts import Prompts
from promptstill.data.benchmarks import open_unlabeled
from promptstill.data.images import Images
from promptstill.data.styles import load_styles
from promptstill.data.templates import expand
from promptstill.engine import Stopper, make_fabric, progress
from promptstill.errors import DataError
from promptstill.models.bundle import load_bundle
from promptstill.models.clip import Clip
from promptstill.models.generator import load_generator
from promptstill.models.painter import Finished, Painter, Teller, make_painter
from promptstill.models.student import Student
from promptstill.models.teachers import load_teacher
from promptstill.ops.contrastive import Items
from promptstill.ops.templates import fill
from promptstill.pipelines.frame import cast_student, open_benchmark
from promptstill.pipelines.from_names import refuse
from promptstill.settings import FromImages, FromNames, RunSettings
from promptstill.stages.diversify import Plan, make_pusher
from promptstill.stages.synthesize import encode_png
from promptstill.stages.teach import class_vectors

PROBE = 8  # images in a probe's batch


@dataclass(frozen=True)
class Need:
    """What one stage will need."""

    stage: str
    images: int
    seconds: float
    megabytes: float


def plan_from_images(settings: FromImages) -> list[Need]:
    """Needs of a from-images run; reads a few of the images and times a few steps."""
    images = open_unlabeled(settings.images, settings.limit)
    probed = min(PROBE, len(images))
    reading = _seconds(lambda: [_read(images, i) for i in range(probed)]) / probed
    index = Need("3-images", len(images), reading * len(images), 3e-4 * len(images))
    return _plan(settings, load_teacher(settings.teacher), index, lambda _: index)


def plan_from_names(settings: FromNames) -> list[Need]:
    """Needs of a from-names run; times a few steps of synthesis and training."""
    count = len(settings.classes) * settings.diversify.images_per_class

    generator, teacher = load_generator(settings.generator), load_teacher(settings.teacher)
    refuse(settings, generator, teacher)
    device = make_fabric(settings.device).device
    writing = _probe_prompts(teacher.to(device), settings)

    def synthesis(teacher: Clip) -> Need:
        vectors = class_vectors(teacher, settings.classes, settings.vectors)
        painter = make_painter(teacher, generator.to(device), vectors, settings.synthesize, settings.seed)
        seconds, megabytes = _probe_synthesis(painter, fill("A {}", settings.classes[0]))
        return Need("3-images", count, seconds * count, megabytes * count)

    return _plan(settings, teacher, Need("2-prompts", count, writing, 4e-3 * count), synthesis)


def plan_evaluate(student: Path, benchmark: str, teacher: str | None = None) -> list[Need]:
    """Needs of an evaluation."""
    bundle = load_bundle(student)
    tests = len(open_benchmark(benchmark, bundle.vectors.names))
    each = _probe_teacher(load_teacher(teacher or bundle.vectors.teacher)) + probe_student(bundle.student) / 3
    return [Need("evaluate", tests, tests * each, 0.0)]


def _plan(settings: RunSettings, teacher: Clip, first: Need, third: Callable[[Clip], Need]) -> list[Need]:
    device = make_fabric(settings.device).device
    teacher.to(device)
    distill, count = settings.distill, first.images
    student = cast_student(settings, teacher).to(device)
    texts = [fill(template, name) for template in expand(settings.vectors.templates) for name in settings.classes]
    vectors = Need("1-vectors", 0, _seconds(lambda: teacher.embed_texts(texts[:PROBE])) * len(texts) / PROBE, 0.01)
    embedding = _probe_teacher(teacher)
    stored = settings.teacher_mode == "store"
    looks = (distill.views if distill.consistent else 1) if stored else distill.epochs
    learning = count * (looks * embedding + distill.epochs * probe_student(student))
    size = 8e-6 * sum(p.numel() for p in student.parameters()) + stored * 2e-6 * count * looks * teacher.dim
    needs = [vectors, *([first] if first.stage == "2-prompts" else []), third(teacher)]
    needs.append(Need("4-student", count, learning, size))
    tests = len(open_benchmark(settings.benchmark, settings.classes)) if settings.benchmark else 0
    return [*needs, Need("5-report", tests, 3 + tests * 1.5 * embedding, 0.1)]


def show(needs: list[Need]) -> None:
    """Print a plan."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "stage", "images", "about seconds", "about MB", title="plan (nothing was written)", title_justify="left"
    )
    for need in needs:
        table.add_row(need.stage, str(need.images or ""), f"{need.seconds:.0f}", f"{need.megabytes:.1f}")
    seconds, megabytes = sum(n.seconds for n in needs), sum(n.megabytes for n in needs)
    table.add_row("all", "", f"{seconds:.0f}", f"{megabytes:.1f}", style="bold")
    Console().print(table)


def _read(images: Images, index: int) -> None:
    with suppress(DataError):  # the run leaves it out
        images.read(index)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _probe_teacher(teacher: Clip) -> float:
    """Seconds the teacher needs for one image."""
    batch = torch.rand(PROBE, 3, teacher.preprocess.size, teacher.preprocess.size)
    with torch.no_grad():
        teacher.embed_images(batch)
        return _seconds(lambda: teacher.embed_images(batch)) / PROBE


def _probe_prompts(teacher: Clip, settings: FromNames) -> float:
    """Seconds that writing all prompts needs."""
    chosen, names = settings.diversify, settings.classes
    count = len(names) * chosen.images_per_class
    if chosen.strategy == "contrastive":
        push = chosen.contrast
        some = Plan(names, min(chosen.images_per_class, math.ceil(push.batch_size / len(names))))
        pusher = make_pusher(teacher, some, chosen, settings.seed)
        batch, bank = pusher.batches(settings.seed)[0], Items.none(teacher.dim, teacher.device)
        pusher.step(batch, bank)
        return _seconds(lambda: pusher.step(batch, bank)) * push.steps * count / len(batch.labels)
    texts = [fill("A {}", name) for name in names][:PROBE]
    total = len(names) if chosen.strategy == "baseline" else count
    total = len(names) * len(load_styles(chosen.styles)) if chosen.strategy == "mix" else total
    return 0.1 + _seconds(lambda: teacher.embed_texts(texts)) * total / len(texts)


def probe_student(student: Student) -> float:
    """Seconds one image costs in a training step."""
    size = student.architecture.preprocess.size
    batch = torch.rand(PROBE, 3, size, size, device=next(student.parameters()).device)
    student(batch).sum().backward()
    return _seconds(lambda: student(batch).sum().backward()) / PROBE


def _probe_synthesis(painter: Painter | Teller, text: str) -> tuple[float, float]:
    """Seconds and megabytes of one painted image: of all steps of an image, from the time that a few take."""
    target = painter.teacher.embed_texts([text]).expand(PROBE, -1).cpu().numpy()
    prompts = Prompts(np.zeros(PROBE, dtype=np.int64), (text,) * PROBE, target, ({},) * PROBE)
    painted = []

    def paint(steps: int) -> None:
        few = replace(painter, settings=painter.settings.model_copy(update={"steps": steps, "text_steps": steps}))
        with progress("probe", PROBE) as ticker:
            painted.extend(few.paint(prompts, range(PROBE), Finished(), ticker, Stopper()))

    paint(2)
    short, long = _seconds(lambda: paint(2)), _seconds(lambda: paint(5))
    seconds = short + (long - short) / 3 * max(0, painter.steps - 2)
    return seconds / PROBE, 1e-6 * len(encode_png(next(each.image for each in painted if each.image is not None)))
