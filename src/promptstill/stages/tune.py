"""A few labelled images + a frozen CLIP -> prompts of its towers (PromptSRC, Khattak et al., ICCV 2023).

The teacher of PromptKD is made this way. Prompts alone learn, in full precision; what the frozen model says of the
images is computed once, and the text tower runs in chunks whose memory does not grow with the number of classes.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from promptstill.artifacts import write_atomic
from promptstill.data.sets.base import Labelled
from promptstill.data.teacher_store import TeacherStore, open_store
from promptstill.data.templates import context_template, expand
from promptstill.data.views import Views
from promptstill.engine import Stopper, progress, stream
from promptstill.errors import UsageError
from promptstill.models.clip import Clip
from promptstill.models.prompts import PromptedClip, fresh_text_tokens, fresh_tokens
from promptstill.models.towers import first_word, image_tower_size, text_tower_size
from promptstill.ops.losses import agreement, cosine_logits
from promptstill.ops.promptsrc import (
    accumulate,
    gaussian_weights,
    promptsrc_terms,
    promptsrc_weights,
    template_mean,
    weighted_sum,
)
from promptstill.ops.schedules import epoch_rate
from promptstill.ops.templates import fill_all
from promptstill.settings import Tune

log = logging.getLogger("promptstill")
TEXTS_AT_ONCE = 256


class Batch(NamedTuple):
    """Images (B, 3, S, S) in [0, 1], the frozen model's unit features of them (B, D), and their classes (B,)."""

    images: Tensor | None  # none where no image prompt learns: the features say it all
    plain: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Practice:
    """What prompts learn from: the batches of each epoch, the class texts, the frozen class vectors (K, D)."""

    batches: Callable[[int], Iterable[Batch]]
    texts: tuple[str, ...]
    plain_texts: Tensor


# ---------------------------------------------------------------------------------------------------- before it learns


def fresh_teacher(clip: Clip, settings: Tune, seed: int) -> tuple[PromptedClip, tuple[str, ...]]:
    """A CLIP with fresh prompts in the towers that ``settings`` name; and a sentence for each tower left out.

    Raises:
        UsageError: a tower that was asked for takes no prompts, or no tower does.
    """
    makers = {"visual": _fresh_visual, "text": _fresh_text}
    left_out: dict[str, str] = {}
    prompts: dict[str, Tensor] = {}
    for name, make in makers.items():
        if settings.towers not in ("auto", "both", name):
            continue
        try:
            prompts[name] = make(clip, settings, seed)
        except UsageError as error:
            if settings.towers != "auto":
                raise
            left_out[name] = str(error).partition(";")[0]
    if not prompts:
        raise UsageError(f"{clip.uri} takes no prompts: {'; '.join(left_out.values())}; use another teacher")
    (other,) = prompts if left_out else ("",)
    notes = tuple(f"{reason}: {other} prompts alone are learned" for reason in left_out.values())
    return PromptedClip(clip, prompts, context_template(settings.length, settings.words)), notes


def _fresh_visual(clip: Clip, settings: Tune, seed: int) -> Tensor:
    blocks, width = image_tower_size(clip.visual)
    return fresh_tokens(min(settings.depth, blocks), settings.length, width, stream(seed, "prompts", "visual"))


def _fresh_text(clip: Clip, settings: Tune, seed: int) -> Tensor:
    blocks, _ = text_tower_size(clip.model)
    has_words = settings.length <= len(settings.words.split())
    words = clip.tokenizer([context_template(settings.length, settings.words)])[0] if has_words else None
    draw, start = stream(seed, "prompts", "text"), first_word(clip.tokenizer)
    return fresh_text_tokens(clip.model, words, min(settings.depth, blocks), settings.length, draw, start)


def prepare(
    clip: Clip, teacher: PromptedClip, shots: Labelled, settings: Tune, seed: int, folder: Path, stopper: Stopper
) -> Practice:
    """Let the frozen ``clip`` look at every view of the shots once (kept in ``folder``), and at the class names."""
    pre = clip.preprocess
    views = Views(shots.images, seed, settings.crop, settings.flip, pre.size, pre.interpolation)
    store = open_store(folder, views, settings.views, clip.embed_images, clip.hash, stopper)
    pixels = views if "visual" in teacher.prompts else None
    batches = partial(_batches, pixels, store, torch.tensor(shots.labels), settings, seed)
    texts = tuple(fill_all([teacher.template or context_template(4)], shots.classes))
    clip.refuse_long(texts)
    return Practice(batches, texts, frozen_vectors(clip, shots.classes, settings.templates))


def _batches(
    views: Views | None, store: TeacherStore, labels: Tensor, settings: Tune, seed: int, epoch: int
) -> Iterable[Batch]:
    """Shuffled batches of one epoch, a pure function of seed and epoch."""
    order = torch.randperm(len(labels), generator=stream(seed, "order", epoch))
    view = epoch % settings.views
    for indices in order.split(settings.batch_size):
        images = views.batch(indices.tolist(), view) if views else None
        yield Batch(images, store.batch(indices, view), labels[indices])


@torch.no_grad()
def frozen_vectors(clip: Clip, names: tuple[str, ...], templates: tuple[str, ...]) -> Tensor:
    """Unit class vectors (K, D) of the frozen model, averaged over templates before they are made unit length."""
    texts = expand(templates)
    rows = fill_all(texts, names)
    clip.refuse_long(rows)
    encode: Any = clip.model.encode_text
    ids = [clip.tokenizer(rows[i : i + TEXTS_AT_ONCE]) for i in range(0, len(rows), TEXTS_AT_ONCE)]
    features = torch.cat([encode(part.to(clip.device)).float() for part in ids])
    return template_mean(features.view(len(names), len(texts), -1).transpose(0, 1))


# -------------------------------------------------------------------------------------------------------- the learning


def tune(
    teacher: PromptedClip,
    practice: Practice,
    settings: Tune,
    fabric: Fabric,
    folder: Path,
    stopper: Stopper,
    metric: Callable[..., None],
) -> dict[str, float]:
    """Learn ``teacher.prompts`` in place; goes on at the last finished epoch, whose state is kept in ``folder``.

    At the end they are the Gaussian average of the prompts after each epoch. Returns the last epoch's figures.
    """
    optimizer = torch.optim.SGD(
        teacher.prompts.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    shares = gaussian_weights(settings.epochs, settings.average_at, settings.average_over).tolist()
    average: dict[str, Tensor] = {}
    figures: dict[str, float] = {}
    checkpoint, begin = folder / "checkpoint.pt", 0
    if checkpoint.is_file():
        kept = torch.load(checkpoint, map_location=teacher.device, weights_only=True)
        teacher.prompts.load_state_dict(kept["prompts"])
        optimizer.load_state_dict(kept["optimizer"])
        begin, average, figures = kept["epoch"], kept["average"], kept["figures"]
    with progress("learn prompts (epochs)", settings.epochs, begin) as ticker:
        for epoch in range(begin, settings.epochs):
            optimizer.param_groups[0]["lr"] = epoch_rate(epoch, settings.epochs, settings.lr)
            figures = _epoch(teacher, practice, optimizer, settings, fabric, epoch)
            metric("teach", epoch=epoch + 1, **figures)
            average = accumulate(average, dict(teacher.prompts.items()), shares[epoch])
            state = {"prompts": teacher.prompts.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"epoch": epoch + 1, "average": average, "figures": figures}
            write_atomic(checkpoint, partial(torch.save, state))
            ticker.advance()
            stopper.check()
    with torch.no_grad():
        for name, tokens in average.items():
            teacher.prompts[name].copy_(tokens)
    return figures


def _epoch(
    teacher: PromptedClip,
    practice: Practice,
    optimizer: torch.optim.Optimizer,
    settings: Tune,
    fabric: Fabric,
    epoch: int,
) -> dict[str, float]:
    """One pass over the batches; returns the means of terms, loss and accuracy."""
    ids = teacher.tokenizer(list(practice.texts)).to(teacher.device)
    weights = loss_weights(settings, len(practice.texts))
    sums: dict[str, float] = {}
    count = 0
    with torch.no_grad():
        still = None if "text" in teacher.prompts else _text_features(teacher, ids, settings.chunk)
    for batch in practice.batches(epoch):
        with fabric.autocast():
            texts = _text_features(teacher, ids, settings.chunk) if still is None else still
            images = batch.plain.to(teacher.device) if batch.images is None else teacher.embed_images(batch.images)
        terms, right = _terms(teacher, images, texts, batch, practice.plain_texts)
        loss = weighted_sum(terms, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        size = len(batch.labels)
        count += size
        for name, value in (terms | {"loss": loss, "accuracy": 100 * right}).items():
            sums[name] = sums.get(name, 0.0) + size * float(value.detach())
    return {name: round(value / count, 6) for name, value in sums.items()}


def _text_features(teacher: PromptedClip, ids: Tensor, chunk: int) -> Tensor:
    return F.normalize(teacher.encode_ids(ids, chunk).float(), dim=-1)


def _terms(
    teacher: PromptedClip, images: Tensor, texts: Tensor, batch: Batch, plain_texts: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """PromptSRC's terms of one batch, and the share of images that are recognised."""
    plain, labels = batch.plain.to(teacher.device), batch.labels.to(teacher.device)
    terms = promptsrc_terms(images, texts, plain, plain_texts, labels, teacher.scale)
    with torch.no_grad():
        right = agreement(cosine_logits(images, texts, 1.0), F.one_hot(labels, len(texts)).float())
    return terms, right


def loss_weights(settings: Tune, classes: int) -> dict[str, float]:
    """The weights of the four terms for so many classes."""
    logits = promptsrc_weights(classes)["logits"] if settings.logits is None else settings.logits
    return {"ce": settings.ce, "text": settings.text, "image": settings.image, "logits": logits}
