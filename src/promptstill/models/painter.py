"""Guided synthesis (VQGAN-CLIP; DFKD-VLFM eq. 3): a latent is moved until the teacher sees the prompt in its picture.

An image that has settled leaves its slot to the next one. Each image has its own random stream and its own Adam state,
so it is the same picture whatever stands in the other slots.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import torch
from torch import Generator, Tensor

from promptstill.artifacts import ClassVectors, Prompts
from promptstill.engine import Stopper, Ticker, stream, stream_seed
from promptstill.errors import UsageError
from promptstill.models.clip import Clip
from promptstill.models.generator import Latents
from promptstill.models.proposer import Proposer
from promptstill.models.slots import Job, Slots
from promptstill.models.text_to_image import TextToImage
from promptstill.models.vectors import as_judged
from promptstill.ops.augment import Cutouts, apply_cutouts, draw_cutouts, stack_cutouts
from promptstill.ops.guidance import adam_step, clamp_with_gradient, spherical_distance, total_variation
from promptstill.ops.preprocess import resize
from promptstill.ops.starts import sheet
from promptstill.settings import Synthesize

CHECK = 10  # steps between two looks at whether an image may stop
MEMORY = 0.9  # of the running means of loss and score
SHAPES = {"paper": 0, "shapes": 4}  # drawn on the sheet that an image starts from

OWN = 0.5  # share of its own random start in where an image begins, or images of one prompt would begin alike


@dataclass(frozen=True)
class Finished:
    """What earlier images of the run give to later ones: images (3, H, W) by class, and who proposes latents."""

    images: Mapping[int, Sequence[Tensor]] = field(default_factory=dict[int, Sequence[Tensor]])
    propose: Proposer | None = None


@dataclass(frozen=True)
class Painted:
    """One finished image (3, H, W) in [0, 1], or none if its numbers broke; its last loss, its steps, its seed."""

    row: int
    image: Tensor | None
    loss: float
    steps: int
    seed: int


@dataclass(frozen=True)
class Painter:
    """A generator under a teacher's guidance, towards the classes of ``vectors``."""

    teacher: Clip
    generator: Latents
    vectors: ClassVectors
    settings: Synthesize
    seed: int

    @property
    def steps(self) -> int:
        """Most steps an image."""
        return self.settings.steps

    @property
    def size(self) -> int:
        """Side of the painted images."""
        return painted_size(self.teacher, self.generator, self.settings)

    def paint(
        self, prompts: Prompts, rows: Sequence[int], finished: Finished, ticker: Ticker, stopper: Stopper
    ) -> Iterator[Painted]:
        """Paint the images of some prompts; they come as they are finished.

        With ``warm_steps``, an image whose class has ``finished`` images starts from one of them; with
        ``propose_steps``, from what is proposed for its prompt.
        """
        jobs = [self.job(prompts, row, finished) for row in rows]
        if self.settings.coarse:
            jobs = self._grown(prompts, jobs, ticker, stopper)
        spent = {job.row: job.spent for job in jobs}
        for slots in self._descend(prompts, jobs, ticker, stopper):
            parts = zip(
                slots.row.tolist(), self.decoded(slots.z), slots.loss.tolist(), slots.step.tolist(), strict=True
            )
            for row, image, loss, steps in parts:
                good, seed = bool(image.isfinite().all()) and math.isfinite(loss), self._stream_seed(row)
                yield Painted(row, image if good else None, loss, spent[row] + steps, seed)

    def _stream_seed(self, row: int) -> int:
        return stream_seed(self.seed, "synthesize", row)

    def job(self, prompts: Prompts, row: int, finished: Finished) -> Job:
        """The start of one image: from a finished one of its class, mirrored or not, or as ``settings.start`` says, or
        half way from there to what is proposed for its prompt."""
        own, chosen = stream(self.seed, "synthesize", row), self.settings
        images = finished.images.get(int(prompts.labels[row]), ())
        if chosen.warm_steps and images:
            image = images[int(torch.randint(len(images), (), generator=own))]
            image = image.flip(-1) if float(torch.rand((), generator=own)) < 0.5 else image
            return Job(row, self._encoded(image), chosen.warm_steps, own, warm=True)
        if chosen.propose_steps and finished.propose:
            proposed = finished.propose(torch.from_numpy(prompts.embeddings[row]).to(self.teacher.device))
            z = proposed.lerp(self._random(self.size, own).to(proposed), OWN)
            return Job(row, self.generator.project(z[None])[0], chosen.propose_steps, own, warm=True)
        side = self.size // 2 if chosen.coarse else self.size
        return Job(row, self._random(side, own), chosen.steps, own)

    def _random(self, side: int, own: Generator) -> Tensor:
        """A first latent as ``settings.start`` says."""
        start = self.settings.start
        if start == "codes":
            return self.generator.draw(side, own)
        return self._encoded(sheet(side, SHAPES[start], own))

    def proposer(self, prompts: Prompts, images: Mapping[int, Tensor]) -> Proposer:
        """Who has learned from finished images (3, H, W) of some prompts where to begin."""
        rows = sorted(images)
        latents = torch.stack([self._encoded(images[row]) for row in rows])
        embeddings = torch.from_numpy(prompts.embeddings[rows])
        return Proposer(embeddings.to(latents.device), latents, self.seed)

    def _encoded(self, image: Tensor) -> Tensor:
        return self.generator.encode(image[None].to(self.teacher.device))[0]

    def _grown(self, prompts: Prompts, jobs: Sequence[Job], ticker: Ticker, stopper: Stopper) -> list[Job]:
        """Move the jobs without a warm start for some steps at half the size; they go on from there at the full one."""
        share = max(1, round(self.settings.coarse * self.settings.steps))
        small = [replace(job, steps=share) for job in jobs if not job.warm]
        latents: dict[int, Tensor] = {}
        for slots in self._descend(prompts, small, ticker, stopper, stops=False):
            latents |= dict(zip(slots.row.tolist(), slots.z, strict=True))

        def grown(job: Job) -> Job:
            large = resize(self.decoded(latents[job.row][None]), self.size)[0]
            return replace(job, z=self._encoded(large), steps=max(1, job.steps - share), spent=share)

        return [job if job.warm else grown(job) for job in jobs]

    def _descend(
        self, prompts: Prompts, jobs: Sequence[Job], ticker: Ticker, stopper: Stopper, *, stops: bool = True
    ) -> Iterator[Slots]:
        """Move the jobs' latents, ``batch_size`` at a time, refilling free slots; yields the slots that are done."""
        waiting, slots = iter(jobs), None
        while True:
            new = list(islice(waiting, self.settings.batch_size - (len(slots) if slots else 0)))
            if new:
                begun = self.begin(prompts, new)
                slots = slots.join(begun) if slots else begun
            if not slots:
                return
            self.step(slots)
            ticker.advance(len(slots))
            done = self.done(slots, stops=stops)
            if done.any():
                ticker.advance(int((slots.limit - slots.step)[done].sum()))
                yield slots.take(done)
                slots = slots.take(~done)
            stopper.check()

    def begin(self, prompts: Prompts, jobs: Sequence[Job]) -> Slots:
        """Slots before their first step."""
        rows, device = [job.row for job in jobs], self.teacher.device
        z = torch.stack([job.z.to(device) for job in jobs]).float().contiguous()
        nothing, count = torch.zeros(len(rows), device=device), torch.zeros(len(rows), dtype=torch.long)
        return Slots(
            z=z,
            first=torch.zeros_like(z),
            second=torch.zeros_like(z),
            target=torch.from_numpy(prompts.embeddings[rows]).to(device),
            label=torch.from_numpy(prompts.labels[rows]).to(device),
            step=count,
            limit=torch.tensor([job.steps for job in jobs]),
            row=torch.tensor(rows),
            loss=nothing,
            mean=nothing.clone(),
            before=torch.full_like(nothing, torch.inf),
            score=nothing.clone(),
            streams=tuple(job.stream for job in jobs),
        )

    def step(self, slots: Slots) -> None:
        """One descent step of every slot, in place."""
        chosen, size = self.settings, self.teacher.preprocess.size
        drawn = stack_cutouts([draw_cutouts(chosen.cutouts, size, chosen.noise, each) for each in slots.streams])
        z = slots.z.detach().requires_grad_()
        loss, score = self.loss(z, slots.target, slots.label, drawn)
        (grad,) = torch.autograd.grad(loss.sum(), z)  # summed: images do not touch each other
        with torch.no_grad():
            slots.step += 1
            moved = adam_step(slots.z, grad, (slots.first, slots.second), slots.step, chosen.lr)
            slots.z = self.generator.project(moved)
            slots.loss = loss.detach()
            bias = 1 - MEMORY ** slots.step.to(loss)  # as in Adam: the running means begin at zero
            slots.mean = slots.mean.lerp(slots.loss, (1 - MEMORY) / bias)
            slots.score = slots.score.lerp(score, (1 - MEMORY) / bias)

    def loss(self, z: Tensor, target: Tensor, label: Tensor, drawn: Cutouts) -> tuple[Tensor, Tensor]:
        """Each image's loss (B,), and the teacher's mean probability (B,) of its class over the cutouts.

        The loss is the spherical distance of the cutouts to the image's own prompt (B, D), and what the settings add.
        """
        chosen = self.settings
        with self._precision():
            images = clamp_with_gradient(self.generator.decode(z))
        cutouts = apply_cutouts(images, drawn)
        with self._precision():
            features = self.teacher.embed_images(cutouts).view(len(z), -1, target.shape[-1])
        loss = spherical_distance(features, target.unsqueeze(1)).mean(1)
        if chosen.smooth:
            loss = loss + chosen.smooth * total_variation(images)
        judged = as_judged(features.flatten(0, 1), self.vectors).view_as(features)
        scores = (judged @ self._classes.T).log_softmax(-1)
        own = scores.gather(-1, label.view(-1, 1, 1).expand(-1, features.shape[1], 1)).squeeze(-1)
        if chosen.keep_class:
            loss = loss - chosen.keep_class * own.mean(1)
        return loss, own.detach().exp().mean(1)

    @cached_property
    def _classes(self) -> Tensor:
        """The class vectors (K, D), times the teacher's scale."""
        return self.vectors.scale * torch.from_numpy(self.vectors.vectors).to(self.teacher.device)

    def _precision(self) -> torch.autocast:
        """What generator and teacher compute in; everything else is fp32."""
        low = self.settings.precision == "bf16-mixed"
        return torch.autocast(self.teacher.device.type, torch.bfloat16, enabled=low)

    def done(self, slots: Slots, *, stops: bool = True) -> Tensor:
        """Which slots (B,) need no further step: at their limit, settled, sure, or broken."""
        over, looked = slots.step >= slots.limit, slots.step % CHECK == 0
        if not looked.any():
            return over
        ends = ~(slots.loss.isfinite() & slots.z.flatten(1).isfinite().all(1))
        if stops and self.settings.settled:
            ends |= slots.before - slots.mean < self.settings.settled
        if stops and self.settings.sure:
            ends |= slots.score >= self.settings.sure
        slots.before = torch.where(looked.to(slots.mean.device), slots.mean, slots.before)
        return over | (looked & ends.cpu())

    @torch.no_grad()
    def decoded(self, z: Tensor) -> Tensor:
        """Finished images (B, 3, H, W) in [0, 1], on the CPU."""
        return self.generator.decode(z.to(self.teacher.device)).clamp(0, 1).cpu()


@dataclass(frozen=True)
class Teller:
    """A text-to-image pipeline: it is told the prompts, in their words; the teacher only judges its images."""

    teacher: Clip
    generator: TextToImage
    vectors: ClassVectors
    settings: Synthesize
    seed: int

    @property
    def steps(self) -> int:
        """Denoising steps an image."""
        return self.settings.text_steps

    def paint(
        self, prompts: Prompts, rows: Sequence[int], _finished: Finished, ticker: Ticker, stopper: Stopper
    ) -> Iterator[Painted]:
        """Paint the images of some prompts, ``batch_size`` at a time."""
        chosen = self.settings
        for start in range(0, len(rows), chosen.batch_size):
            some = rows[start : start + chosen.batch_size]
            texts = [str(prompts.details[row].get("said", prompts.texts[row])) for row in some]
            streams = [stream(self.seed, "synthesize", row) for row in some]
            size = chosen.image_size or self.generator.image_size
            images = self.generator.paint(texts, streams, size, chosen.text_steps, chosen.guidance)
            for row, image, target in zip(some, images, self._targets(prompts, some), strict=True):
                good, seed = bool(image.isfinite().all()), stream_seed(self.seed, "synthesize", row)
                loss = self._distance(image, target) if good else float("nan")
                yield Painted(row, image if good else None, loss, chosen.text_steps, seed)
            ticker.advance(len(some) * self.steps)
            stopper.check()

    def _targets(self, prompts: Prompts, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(prompts.embeddings[list(rows)]).to(self.teacher.device)

    @torch.no_grad()
    def _distance(self, image: Tensor, target: Tensor) -> float:
        features = self.teacher.embed_images(resize(image[None], self.teacher.preprocess.size))
        return float(spherical_distance(features, target)[0])


def painted_size(teacher: Clip, generator: Latents, settings: Synthesize) -> int:
    """Side of the images: as set, else the generator's own, else the teacher's input.

    Raises:
        UsageError: it is no multiple of what the generator paints in, or not where it begins coarse.
    """
    side = settings.image_size or generator.image_size or teacher.preprocess.size
    part = generator.factor * (2 if settings.coarse else 1)
    if side % part:
        near = max(1, side // part) * part
        raise UsageError(
            f"{generator.uri} paints sides that are a multiple of {part} here, not {side}; "
            f"use synthesize.image_size={near}"
        )
    return side


def check_paint(teacher: Clip, generator: Latents, settings: Synthesize) -> None:
    """Raise what painting would raise: a side, or a start, that the generator has not."""
    side = painted_size(teacher, generator, settings)
    if settings.start != "codes" or settings.coarse or settings.warm_steps or settings.propose_steps:
        generator.encode(torch.ones(1, 3, side, side, device=teacher.device))


def make_painter(
    teacher: Clip, generator: Latents | TextToImage, vectors: ClassVectors, settings: Synthesize, seed: int
) -> Painter | Teller:
    """Who paints with this generator."""
    if isinstance(generator, TextToImage):
        return Teller(teacher, generator, vectors, settings, seed)
    return Painter(teacher, generator, vectors, settings, seed)
