"""Images + class vectors + teacher -> student. The one training loop; it cannot know where its images came from."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from promptstill.artifacts import ClassVectors, write_atomic
from promptstill.data.images import Images
from promptstill.data.teacher_store import TeacherStore, build_store, store_key
from promptstill.data.views import Views
from promptstill.engine import Stopper, progress, stream, stream_seed
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import save_bundle
from promptstill.models.clip import Clip
from promptstill.models.student import Student
from promptstill.ops.losses import agreement, cosine_logits, distillation_terms
from promptstill.settings import Distill

WARM_UP = 0.05  # share of all steps


@dataclass(frozen=True)
class Lesson:
    """What a student learns from: views of the images at its own size, the teacher's embeddings of the same crops."""

    views: Views
    teacher: TeacherStore
    vectors: ClassVectors
    settings: Distill
    seed: int


def prepare(
    teacher: Clip,
    student: Student,
    images: Images,
    vectors: ClassVectors,
    settings: Distill,
    seed: int,
    folder: Path,
    stopper: Stopper,
) -> Lesson:
    """Build the teacher store of the images (or find it in ``folder``), and the student's view of the same crops.

    Raises:
        DataError: there is only one image; the projector's BatchNorm needs two.
    """
    if len(images) < 2:
        raise DataError("one image is too few to learn from; give at least two")

    def views(size: int, interpolation: str) -> Views:
        return Views(images, seed, settings.crop, settings.flip, size, interpolation)

    theirs = views(teacher.preprocess.size, teacher.preprocess.interpolation)
    own = student.architecture.preprocess
    place = folder / store_key(theirs, settings.views, teacher.hash)
    store = build_store(place, theirs, settings.views, teacher.embed_images, stopper)
    return Lesson(views(own.size, own.interpolation), store, vectors, settings, seed)


def distill(
    student: Student,
    lesson: Lesson,
    fabric: Fabric,
    folder: Path,
    stopper: Stopper,
    metric: Callable[..., None],
) -> dict[str, Any]:
    """Train ``student`` on ``lesson`` and write the bundle to ``folder``; goes on at the last finished epoch.

    The last epoch is kept: nothing is selected. Returns what to note about the training.

    Raises:
        UsageError: prompts are to learn, and the student has none.
    """
    settings = lesson.settings
    optimizer = torch.optim.AdamW(_groups(student, settings), weight_decay=settings.weight_decay)
    frozen = not any(parameter.requires_grad for parameter in student.backbone.parameters())
    inputs = _stored_features(student, lesson, fabric, folder, stopper) if frozen else lesson.views
    model, tuned = fabric.setup(student, optimizer)
    model.mark_forward_method("embed")
    state: dict[str, Any] = {"model": model, "optimizer": tuned, "epoch": 0}
    checkpoint = folder / "checkpoint.ckpt"
    if checkpoint.is_file():
        fabric.load(checkpoint, state)
    with progress("distill (epochs)", settings.epochs, state["epoch"]) as ticker:
        for epoch in range(state["epoch"], settings.epochs):
            figures = _epoch(model, tuned, inputs, lesson, fabric, epoch)
            metric("distill", epoch=epoch + 1, **figures)
            state["epoch"] = epoch + 1
            write_atomic(checkpoint, lambda part: fabric.save(part, state))
            ticker.advance()
            stopper.check()
    facts = {"settings": settings.model_dump(), "seed": lesson.seed, "images": len(lesson.views)}
    save_bundle(student, lesson.vectors, facts, folder)
    checkpoint.unlink(missing_ok=True)
    shutil.rmtree(folder / "features", ignore_errors=True)
    return {"images": len(lesson.views), "epochs": settings.epochs, "backbone": student.architecture.weights}


def _epoch(
    model: Any, optimizer: Any, inputs: "Views | TeacherStore", lesson: Lesson, fabric: Fabric, epoch: int
) -> dict[str, float]:
    """One pass over all images with view ``epoch mod V``; returns the means of the loss terms."""
    settings = lesson.settings
    torch.manual_seed(stream_seed(lesson.seed, "epoch", epoch))  # dropout, should the backbone have any
    _train_mode(model)
    vectors = torch.from_numpy(lesson.vectors.vectors).to(fabric.device)
    batches = list(_batches(len(lesson.views), settings.batch_size, lesson.seed, epoch))
    sums: dict[str, float] = {}
    for at, indices in enumerate(batches):
        step, total = epoch * len(batches) + at, settings.epochs * len(batches)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _schedule(step, total)
        x, target = _batch(inputs, lesson.teacher, indices, epoch % settings.views, fabric)
        embedded = model(x) if isinstance(inputs, Views) else model.embed(x)
        terms = distillation_terms(embedded, target, vectors, lesson.vectors.scale, settings.temperature)
        loss = settings.kl * terms["kl"] + settings.feature * terms["feature"]
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            ours, theirs = (cosine_logits(f, vectors, 1.0) for f in (embedded, target))
            terms["agreement"] = agreement(ours, theirs)
        for name, value in (terms | {"loss": loss}).items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(batches)
    return {name: round(value, 6) for name, value in sums.items()}


def _batch(inputs: Any, teacher: TeacherStore, indices: Tensor, view: int, fabric: Fabric) -> tuple[Tensor, Tensor]:
    """What goes into the student (views, or stored features of them) and the teacher's embeddings of the same crops."""
    if isinstance(inputs, Views):
        x = inputs.batch(indices.tolist(), view)
    else:
        x = torch.from_numpy(inputs.embeddings[indices.numpy(), view]).float()
    return x.to(fabric.device), teacher.batch(indices, view).to(fabric.device)


def _stored_features(student: Student, lesson: Lesson, fabric: Fabric, folder: Path, stopper: Stopper) -> TeacherStore:
    """The frozen backbone's features of every view, once: training the projector alone takes seconds then."""
    student.to(fabric.device).eval()

    def encode(images: Tensor) -> Tensor:
        return student.features(images.to(fabric.device))

    return build_store(folder / "features", lesson.views, lesson.settings.views, encode, stopper)


def what_learns(student: Student, settings: Distill) -> str:
    """``projector``, ``prompts`` or ``all``.

    Raises:
        UsageError: prompts are to learn, and the student has none.
    """
    if settings.train == "auto":
        return "all" if student.tokens is None else "prompts"
    if settings.train == "prompts" and student.tokens is None:
        uri = student.architecture.uri
        raise UsageError(f"{uri} has no prompts that could learn; use --student prompted:{uri} or distill.train=all")
    return settings.train


def _groups(student: Student, settings: Distill) -> list[dict[str, Any]]:
    """Parameters that learn, chosen by object, with their peak learning rates; all others are frozen."""
    tokens, train = student.tokens, what_learns(student, settings)
    parts: list[tuple[float, list[nn.Parameter]]] = [(1.0, list(student.projector.parameters()))]
    student.backbone.requires_grad_(False)
    if tokens is not None and train != "projector":
        parts.append((1.0, [tokens]))
    if train == "all" and settings.backbone_lr > 0:
        parts.append((settings.backbone_lr, list(student.tower.parameters())))
    for _, parameters in parts:
        for parameter in parameters:
            parameter.requires_grad_(True)
    return [{"params": part, "lr": settings.lr * share, "peak": settings.lr * share} for share, part in parts]


def _train_mode(model: Any) -> None:
    """Training mode, but not for a frozen tower: its statistics stay too."""
    model.train()
    if not any(parameter.requires_grad for parameter in model.tower.parameters()):
        model.tower.eval()


def _batches(count: int, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Shuffled batches, a pure function of seed and epoch. BatchNorm needs two, so a last single image waits."""
    order = torch.randperm(count, generator=stream(seed, "order", epoch))
    return (part for part in order.split(size) if len(part) > 1)


def _schedule(step: int, total: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
