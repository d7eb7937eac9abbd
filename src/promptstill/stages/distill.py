"""Images + class vectors + teacher -> student. The one training loop; it cannot know where its images came from."""

import math
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from promptstill.artifacts import ClassVectors, write_atomic
from promptstill.data.images import Images
from promptstill.data.teacher_store import LiveTeacher, TeacherStore, open_store
from promptstill.data.views import Views
from promptstill.engine import Stopper, ahead, progress, stream, stream_seed
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import save_bundle
from promptstill.models.clip import Clip
from promptstill.models.learner import (
    Average,
    Phase,
    changing,
    frozen_backbone,
    make_optimizer,
    parameter_groups,
    phases,
    set_rates,
    snapshot,
    train_mode,
)
from promptstill.models.student import Student
from promptstill.models.vectors import as_judged
from promptstill.ops.hashing import state_hash
from promptstill.ops.losses import agreement, cosine_logits, embedding_terms, score_terms
from promptstill.ops.targets import TARGETS, centred
from promptstill.settings import Distill

Judge = Callable[[Student], float]  # how good a student is, more is better


@dataclass(frozen=True)
class Lesson:
    """What a student learns from: views of the images at its own size, the teacher's embeddings of the same crops."""

    views: Views
    teacher: TeacherStore | LiveTeacher
    vectors: ClassVectors
    settings: Distill
    seed: int
    folder: Path | None = None  # where embeddings are kept, if they are

    @cached_property
    def parts(self) -> tuple[Tensor, Tensor]:
        """Indices of the images to learn from, and of those held out (none, unless the selection needs them)."""
        count = len(self.views)
        away = max(2, round(self.settings.held_out * count)) if self.settings.select == "agreement" else 0
        order = torch.randperm(count, generator=stream(self.seed, "held out"))
        return order[away:].sort().values, order[:away]

    @property
    def weights(self) -> dict[str, float]:
        """The terms of the objective that count, with their weights."""
        chosen = self.settings
        kl = chosen.kl / len(self.vectors.names) if chosen.kl_per_class else chosen.kl
        named = {"kl": kl, "symmetric": chosen.symmetric, "feature": chosen.feature, "l1": chosen.l1}
        return {name: weight for name, weight in named.items() if weight}

    def target(self, indices: Tensor, view: int) -> Tensor:
        """The teacher's embeddings (B, D) of what the student sees, or of the whole pictures."""
        return as_judged(self.teacher.batch(indices, view if self.settings.consistent else 0), self.vectors)


def prepare(
    teacher: Clip,
    student: Student,
    images: Images,
    vectors: ClassVectors,
    settings: Distill,
    seed: int,
    folder: Path | None,
    stopper: Stopper,
) -> Lesson:
    """Build the teacher store of the images (or find it in ``folder``), and the student's view of the same crops.

    Without a ``folder`` nothing is stored, and the teacher looks at every batch anew.

    Raises:
        DataError: there are too few images, or the class vectors are another teacher's.
    """
    if vectors.teacher_hash != teacher.hash:
        raise DataError(f"the class vectors are those of {vectors.teacher}, not of {teacher.uri}; make them again")
    own, theirs = student.architecture.preprocess, teacher.preprocess
    views = Views(images, settings.view_seed, settings.crop, settings.flip, own.size, own.interpolation)
    crop, flip, count = (settings.crop, settings.flip, settings.views) if settings.consistent else (1.0, False, 1)
    seen = Views(images, settings.view_seed, crop, flip, theirs.size, theirs.interpolation)
    if folder is None:
        source = LiveTeacher(seen, teacher.embed_images)
    else:
        source = open_store(folder, seen, count, teacher.embed_images, teacher.hash, stopper)
    lesson = Lesson(views, source, vectors, settings, seed, folder)
    if len(images) < 2 or len(lesson.parts[0]) < 2:
        raise DataError(f"{len(images)} images are too few to learn from; give at least two, and four to hold some out")
    return lesson


def distill(
    student: Student,
    lesson: Lesson,
    fabric: Fabric,
    folder: Path,
    stopper: Stopper,
    metric: Callable[..., None],
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Train ``student`` on ``lesson`` and write the bundle to ``folder``; goes on at the last finished epoch.

    ``judge`` measures a student on labelled images; it is asked only if the settings select on test data. Returns what
    to note about the training.

    Raises:
        UsageError: prompts are to learn and the student has none, or test data are to select and there are none.
    """
    settings, checkpoint = lesson.settings, folder / "checkpoint.ckpt"
    if settings.select == "test" and judge is None:
        raise UsageError("distill.select=test needs a --benchmark; give one, or keep the last epoch with select=last")
    stages = phases(student, settings)
    memory = _recall(student, fabric, checkpoint)
    with progress("distill (epochs)", sum(phase.epochs for phase in stages), memory["done"]) as ticker:
        for number, phase in enumerate(stages):
            before = sum(earlier.epochs for earlier in stages[:number])
            if memory["done"] >= before + phase.epochs:
                continue
            loop = _Loop(student, lesson, phase, fabric, memory, begun=memory["done"] > before)
            loop.features = loop.stored_features(stopper)
            for epoch in range(memory["done"] - before, phase.epochs):
                figures = loop.epoch(epoch, memory["done"])
                memory["done"] += 1
                if phase is stages[-1]:
                    figures |= loop.select(epoch, judge)
                metric(phase.name, epoch=epoch + 1, **figures)
                write_atomic(checkpoint, lambda part, loop=loop: fabric.save(part, loop.memory()))
                ticker.advance()
                stopper.check()
    student.load_state_dict(memory["kept"], strict=False)
    facts = {"settings": settings.model_dump(), "seed": lesson.seed, "images": len(lesson.views)}
    facts |= {"learns": stages[-1].learns, "weights": lesson.weights, "kept_epoch": memory["kept_epoch"]}
    facts |= {"selected_on_test_data": settings.select == "test"}
    save_bundle(student, lesson.vectors, facts, folder)
    checkpoint.unlink(missing_ok=True)
    noted = {"images": len(lesson.views), "epochs": settings.epochs, "backbone": student.architecture.weights}
    return noted | {name: facts[name] for name in ("learns", "kept_epoch", "selected_on_test_data")}


def _recall(student: Student, fabric: Fabric, checkpoint: Path) -> dict[str, Any]:
    """What training needs beside the student to go on as if nothing had happened; the student is brought up to it."""
    if not checkpoint.is_file():
        return {"done": 0, "kept": {}, "kept_epoch": None, "score": -math.inf}
    memory: dict[str, Any] = fabric.load(checkpoint)
    student.load_state_dict(memory.pop("learned"), strict=False)
    return memory


class _Loop:
    """One phase of training. ``begun`` says that ``memory`` holds this phase's optimizer and average."""

    features: TeacherStore | None = None  # of the student's own frozen backbone

    def __init__(
        self, student: Student, lesson: Lesson, phase: Phase, fabric: Fabric, memory: dict[str, Any], *, begun: bool
    ) -> None:
        self.student, self.lesson, self.phase, self.fabric, self._memory = student, lesson, phase, fabric, memory
        optimizer = make_optimizer(parameter_groups(student, phase, lesson.settings), lesson.settings)
        self.model, self.optimizer = fabric.setup(student, optimizer)
        self.model.mark_forward_method("embed")
        self.vectors = torch.from_numpy(lesson.vectors.vectors).to(fabric.device)
        averaged = changing(student, phase) if lesson.settings.select == "ema" else {}
        self.average = Average(averaged, lesson.settings.ema)
        if begun:
            self.optimizer.load_state_dict(memory["optimizer"])
            self.average.load(memory["average"])

    def memory(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        now = {"learned": changing(self.student, self.phase), "optimizer": self.optimizer.state_dict()}
        return self._memory | now | {"average": self.average.state()}

    def epoch(self, epoch: int, number: int) -> dict[str, float]:
        """One pass over all images with view ``number mod V``; returns the means of the loss terms.

        ``epoch`` counts in this phase, ``number`` from the beginning.
        """
        lesson, settings = self.lesson, self.lesson.settings
        torch.manual_seed(stream_seed(lesson.seed, "epoch", number))  # dropout, should the backbone have any
        train_mode(self.student)
        batches = list(_batches(lesson.parts[0], settings.batch_size, lesson.seed, number))
        sums: dict[str, Tensor | float] = {}
        first, total = epoch * len(batches), self.phase.epochs * len(batches)
        for at, parts in enumerate(ahead(self._load(batch, number % settings.views) for batch in batches)):
            set_rates(self.optimizer, settings, self.phase.epochs, first + at, total)
            for name, value in self._step(parts).items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: round(float(value) / len(batches), 6) for name, value in sums.items()}

    def select(self, epoch: int, judge: Judge | None) -> dict[str, float]:
        """Keep what the settings select, should that be what there is after this epoch; returns the epoch's score."""
        chosen, keep = self.lesson.settings.select, self._memory
        if chosen in ("last", "ema"):
            now = self.average.tensors if chosen == "ema" else {}
            keep |= {"kept": snapshot(now) if epoch + 1 == self.phase.epochs else {}, "kept_epoch": epoch + 1}
            return {}
        score = judge(self.student) if chosen == "test" and judge else -self._disagreement()
        if score > keep["score"]:
            keep |= {"kept": snapshot(changing(self.student, self.phase)), "kept_epoch": epoch + 1, "score": score}
        return {"score": round(score, 6)}

    @torch.no_grad()
    def _disagreement(self) -> float:
        """Mean loss term that compares soft labels, over the held-out images."""
        self.student.eval()
        name, total = "l1" if self.student.architecture.head else "kl", 0.0
        for indices in self.lesson.parts[1].split(self.lesson.settings.batch_size):
            for x, target in self._load(indices, 0):
                total += len(x) * float(self._terms(self._forward(x), target.to(self.fabric.device), (name,))[name])
        return total / len(self.lesson.parts[1])

    def _step(self, parts: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """One step of the optimizer on a batch that comes in one part or several; returns the batch's figures."""
        weights, figures = self.lesson.weights, dict[str, Tensor]()
        count = sum(len(x) for x, _ in parts)
        for x, target in parts:
            terms = self._terms(self._forward(x), target.to(self.fabric.device), weights)
            terms["loss"] = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
            self.fabric.backward(terms["loss"] * (len(x) / count))
            for name, value in terms.items():
                figures[name] = figures.get(name, 0.0) + value.detach() * (len(x) / count)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.lesson.settings.select == "ema":
            self.average.update(changing(self.student, self.phase))
        return figures

    def _forward(self, x: Tensor) -> Tensor:
        x = x.to(self.fabric.device)
        return self.model.embed(x) if self.features else self.model(x)

    def _terms(self, output: Tensor, target: Tensor, wanted: Container[str]) -> dict[str, Tensor]:
        """The wanted terms of the objective and the share of images on which both name the same class."""
        lesson, t = self.lesson, self.lesson.settings.temperature
        if head := self.student.architecture.head:
            scores = TARGETS[head].scores(target, self.vectors, lesson.vectors.scale)
            scores = centred(scores) if lesson.settings.centred else scores
            same = torch.eq(TARGETS[head].predict(output), TARGETS[head].predict(scores)).float().mean()
            return score_terms(output, scores, t, wanted) | {"agreement": same}
        terms = embedding_terms(output, target, self.vectors, lesson.vectors.scale, t, wanted)
        with torch.no_grad():
            return terms | {"agreement": agreement(*(cosine_logits(f, self.vectors, 1.0) for f in (output, target)))}

    def _load(self, indices: Tensor, view: int) -> list[tuple[Tensor, Tensor]]:
        """What goes into the student (views, or stored features of them) and the teacher's embeddings, in parts."""
        count = len(indices)
        pieces = math.ceil(count / (self.lesson.settings.micro_batch or count))
        parts = indices.tensor_split(max(1, min(pieces, count // 2)))  # BatchNorm needs two
        return [(self._input(part, view), self.lesson.target(part, view)) for part in parts]

    def _input(self, indices: Tensor, view: int) -> Tensor:
        return self.features.rows(indices, view) if self.features else self.lesson.views.batch(indices.tolist(), view)

    def stored_features(self, stopper: Stopper) -> TeacherStore | None:
        """A frozen backbone's features of every view, once: training the projector alone takes seconds then."""
        if self.lesson.folder is None or not frozen_backbone(self.student):
            return None
        views, count = self.lesson.views, self.lesson.settings.views
        self.student.eval()

        def encode(images: Tensor) -> Tensor:
            return self.student.features(images.to(self.fabric.device))

        return open_store(self.lesson.folder, views, count, encode, state_hash(self.student.backbone), stopper)


def _batches(indices: Tensor, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Shuffled batches, a pure function of seed and epoch. BatchNorm needs two, so a last single image waits."""
    order = torch.randperm(len(indices), generator=stream(seed, "order", epoch))
    return (indices[part] for part in order.split(size) if len(part) > 1)
