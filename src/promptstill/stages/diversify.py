"""Names -> prompts: plain ones, mixed styles, drawn pseudo-words, pseudo-words pushed apart (DFKD-VLFM sec. 3.3)."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from promptstill.artifacts import Prompts
from promptstill.data.styles import load_styles
from promptstill.data.wording import shuffled, spelled, substituted
from promptstill.engine import Stopper, progress, stream
from promptstill.errors import DataError
from promptstill.models.clip import Clip
from promptstill.models.text import PLACEHOLDER, TextTower
from promptstill.ops.contrastive import (
    Items,
    contrastive_loss,
    distances,
    mix_unit,
    pseudo_words,
    retention,
    token_statistics,
)
from promptstill.ops.templates import fill, fill_all
from promptstill.settings import Contrast, Diversify

log = logging.getLogger("promptstill")

ENCODED = 256  # prompts a forward pass
WORDINGS = 1024  # of a positive's template; more would only fill the tokenizer's cache, which keeps every word for ever


@dataclass(frozen=True)
class Diversified:
    """Prompts, and their class retention and mean cosine distances within and between classes."""

    prompts: Prompts
    figures: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """Which class each prompt has; class after class within each round, so that every shard has all classes."""

    names: tuple[str, ...]
    rounds: int

    @property
    def labels(self) -> Tensor:
        """Class of each prompt (N,)."""
        return torch.arange(len(self.names)).repeat(self.rounds)

    def stream(self, seed: int, use: str, row: int) -> Generator:
        """A prompt's own draws, by its class's name and its round: the same whatever the batch, or the other names."""
        return stream(seed, "diversify", use, self.names[row % len(self.names)], row // len(self.names))


def baseline(teacher: Clip, names: tuple[str, ...], settings: Diversify, _seed: int, _stopper: Stopper) -> Diversified:
    """The same plain prompt ``A [CLS]`` for every image of a class (sec. 4.1)."""
    plan = Plan(names, settings.images_per_class)
    texts = fill_all(["A {}"], names)
    rows, details = plan.labels.tolist(), tuple({} for _ in plan.labels)
    embeddings = teacher.embed_texts(texts)[plan.labels]
    return _diversified(teacher, plan, [texts[row] for row in rows], embeddings, details)


def mix(teacher: Clip, names: tuple[str, ...], settings: Diversify, seed: int, _stopper: Stopper) -> Diversified:
    """Two different styles of the class, in uniform shares, for each prompt (Mix-Prompt, eq. 6)."""
    styles, plan = load_styles(settings.styles), Plan(names, settings.images_per_class)
    pure = teacher.embed_texts(_styled(settings, names)).view(len(names), len(styles), -1)
    details = tuple(_mixture(plan.stream(seed, "mix", row), styles) for row in range(len(plan.labels)))
    first, second = (torch.tensor([styles.index(each["styles"][k]) for each in details]) for k in (0, 1))
    share = torch.tensor([each["shares"][0] for each in details]).to(pure)
    embeddings = mix_unit(pure[plan.labels, first], pure[plan.labels, second], share)
    words = [fill(settings.template, names[c]) for c in plan.labels]
    texts = [f"{each} {_told(mixture)}" for each, mixture in zip(words, details, strict=True)]
    spoken = ({**mixture, "said": _said(mixture, each)} for each, mixture in zip(words, details, strict=True))
    return _diversified(teacher, plan, texts, embeddings, tuple(spoken))


def _styled(settings: Diversify, names: Sequence[str]) -> list[str]:
    """Every class in every style, style after style within a class."""
    styles = load_styles(settings.styles)
    if len(styles) < 2:
        raise DataError(f"{settings.styles} holds one style, but mixing needs two; add some")
    return [f"{text} {style}" for text in fill_all([settings.template], names) for style in styles]


def _mixture(drawn: Generator, styles: Sequence[str]) -> dict[str, Any]:
    first, second = torch.randperm(len(styles), generator=drawn)[:2].tolist()
    share = float(torch.rand((), generator=drawn))  # Beta(1, 1) is uniform
    return {"styles": (styles[first], styles[second]), "shares": (share, 1 - share)}


def _said(mixture: dict[str, Any], words: str) -> str:
    """A mixture for a generator that is told words: the style with the larger share first."""
    order = (0, 1) if mixture["shares"][0] >= 0.5 else (1, 0)
    return f"{words} {' and '.join(mixture['styles'][k] for k in order)}"


def _told(mixture: dict[str, Any]) -> str:
    pairs = zip(mixture["styles"], mixture["shares"], strict=True)
    return " + ".join(f"{style} {share:.2f}" for style, share in pairs)


def random(teacher: Clip, names: tuple[str, ...], settings: Diversify, seed: int, _stopper: Stopper) -> Diversified:
    """A pseudo-word from the statistics of the token table for each prompt (Random-Prompt, eq. 7-11)."""
    tower, plan = TextTower(teacher), Plan(names, settings.images_per_class)
    streams = [plan.stream(seed, "word", row) for row in range(len(plan.labels))]
    words = start_words(tower, settings.spread, streams)
    texts = _with_pseudo_words(plan, settings.template)
    with torch.no_grad():
        parts = zip(_parts(texts), words.split(ENCODED), strict=True)
        embeddings = torch.cat([tower.encode(tower.tokens(part), some) for part, some in parts])
    return _diversified(teacher, plan, texts, embeddings, _lengths(words))


def start_words(tower: TextTower, spread: float, streams: Sequence[Generator]) -> Tensor:
    """Drawn pseudo-words (N, D_t), each from its prompt's own stream."""
    mean, deviation = token_statistics(tower.table)
    noise = torch.stack([torch.randn(len(mean), generator=each) for each in streams])
    return pseudo_words(mean, deviation, noise.to(mean), spread)


def _with_pseudo_words(plan: Plan, template: str) -> list[str]:
    return [f"{fill(template, plan.names[label])} {PLACEHOLDER}" for label in plan.labels]


def _lengths(words: Tensor) -> tuple[dict[str, Any], ...]:
    """What can be told of a pseudo-word: its length, which grows without bound if nothing holds it."""
    return tuple({"pseudo_word_length": round(float(length), 4)} for length in words.norm(dim=-1))


def contrastive(teacher: Clip, names: tuple[str, ...], settings: Diversify, seed: int, stopper: Stopper) -> Diversified:
    """Drawn pseudo-words pushed apart from each other and from past ones (Contrastive-Prompt, eq. 12).

    A prompt's draws are its own, but where it ends depends on what it is pushed from: on the batch and the bank.
    """
    chosen, plan = settings.contrast, Plan(names, settings.images_per_class)
    pusher = make_pusher(teacher, plan, settings, seed)
    batches, bank = pusher.batches(seed), Items.none(teacher.dim, teacher.device)
    rounds = [(batch, 1) for _ in range(chosen.steps) for batch in batches]
    if chosen.schedule == "batch":
        rounds = [(batch, chosen.steps) for batch in batches]
    with progress("diversify (steps)", chosen.steps * len(batches)) as ticker:
        for batch, steps in rounds:
            losses = []
            for _ in range(steps):
                losses.append(pusher.step(batch, bank))
                ticker.advance()
                stopper.check()
            items = pusher.embed(batch)
            bank = bank.join(items, chosen.bank)
            kept = retention(items.features, items.labels, pusher.vectors)
            log.info("prompts to %d: loss %.3f, retention %.3f", int(items.numbers[-1]) + 1, losses[-1], kept)
    embeddings = torch.cat([pusher.embed(batch).features for batch in batches])
    words = torch.cat([batch.words.detach() for batch in batches])
    return _diversified(teacher, plan, _with_pseudo_words(plan, settings.template), embeddings, _lengths(words))


def reworded(template: str, settings: Contrast, drawn: Generator) -> tuple[str, ...]:
    """Wordings of a template that positives are drawn from."""
    if settings.positive == "shuffle":
        return tuple(shuffled(template, drawn) for _ in range(WORDINGS))
    return tuple(substituted(template, settings.substitutions, drawn) for _ in range(WORDINGS))


@dataclass(frozen=True)
class Batch:
    """Pseudo-words (B, D_t) that are pushed together, with the tokens of their prompts and their own streams."""

    words: Tensor
    optimizer: torch.optim.Optimizer
    ids: Tensor
    labels: Tensor
    numbers: Tensor
    streams: tuple[Generator, ...]
    bank_stream: Generator


@dataclass(frozen=True)
class Pusher:
    """One descent step of eq. 12 on a batch of pseudo-words. ``vectors`` (K, D) are the plain prompts' embeddings."""

    tower: TextTower
    plan: Plan
    vectors: Tensor
    settings: Diversify
    wordings: tuple[str, ...]

    def batches(self, seed: int) -> list[Batch]:
        """All prompts in batches, at their start.

        Raises:
            DataError: with its letters shuffled, a prompt may be longer than the model's context.
        """
        texts = _with_pseudo_words(self.plan, self.settings.template)
        check(self.tower.clip, self.plan.names, self.settings)
        rows = torch.arange(len(texts)).split(self.settings.contrast.batch_size)
        return [self._batch(seed, at, numbers, texts) for at, numbers in enumerate(rows)]

    def _batch(self, seed: int, at: int, numbers: Tensor, texts: list[str]) -> Batch:
        device = self.tower.clip.device
        streams = tuple(self.plan.stream(seed, "word", row) for row in numbers.tolist())
        words = start_words(self.tower, self.settings.spread, streams).requires_grad_()
        return Batch(
            words=words,
            optimizer=torch.optim.Adam([words], lr=self.settings.contrast.lr),
            ids=self.tower.tokens([texts[row] for row in numbers]),
            labels=self.plan.labels[numbers].to(device),
            numbers=numbers.to(device),
            streams=streams,
            bank_stream=stream(seed, "diversify", "bank", at),
        )

    def step(self, batch: Batch, bank: Items) -> float:
        """Move a batch's pseudo-words by one step; returns its mean loss before it."""
        loss = self.loss(batch, bank).mean()
        batch.optimizer.zero_grad()
        loss.backward()
        batch.optimizer.step()
        return float(loss.detach())

    def loss(self, batch: Batch, bank: Items) -> Tensor:
        """Each prompt's contrastive loss and, weighted, what keeps it in its class: (B,)."""
        chosen = self.settings.contrast
        anchors = self.tower.encode(batch.ids, batch.words)
        positives = self.tower.encode(self.tower.tokens(self.positives(batch)), batch.words)
        own = Items(anchors, batch.labels, batch.numbers)
        others = bank.sample(chosen.negatives, batch.bank_stream)
        if chosen.in_batch != "none":
            others = others.join(own if chosen.in_batch == "attached" else own.detach())
        loss = contrastive_loss(
            anchors,
            positives.detach() if chosen.stop_gradient else positives,
            others.features,
            chosen.tau,
            allowed=own.allowed(others, within_class=chosen.within_class),
            include_positive=chosen.include_positive,
        )
        if not chosen.anchor:
            return loss
        scores = self.tower.clip.scale * F.normalize(anchors, dim=-1) @ self.vectors.T
        return loss + chosen.anchor * F.cross_entropy(scores, batch.labels, reduction="none")

    def positives(self, batch: Batch) -> list[str]:
        """Each prompt in another wording; its class and its pseudo-word stay."""
        names = (self.plan.names[label] for label in batch.labels.tolist())
        picks = (int(torch.randint(len(self.wordings), (), generator=each)) for each in batch.streams)
        pairs = zip(picks, names, strict=True)
        return [f"{fill(self.wordings[pick], name)} {PLACEHOLDER}" for pick, name in pairs]

    @torch.no_grad()
    def embed(self, batch: Batch) -> Items:
        """A batch's unit embeddings as they are now."""
        features = F.normalize(self.tower.encode(batch.ids, batch.words), dim=-1)
        return Items(features, batch.labels, batch.numbers)


def make_pusher(teacher: Clip, plan: Plan, settings: Diversify, seed: int) -> Pusher:
    """What pushes the prompts of a plan apart."""
    wordings = reworded(settings.template, settings.contrast, stream(seed, "diversify", "wordings"))
    return Pusher(TextTower(teacher), plan, plain_vectors(teacher, plan.names), settings, wordings)


def plain_vectors(teacher: Clip, names: Sequence[str]) -> Tensor:
    """Unit embeddings (K, D) of ``A [CLS]``: what a styled prompt should still be nearest to."""
    return teacher.embed_texts(fill_all(["A {}"], names))


def _parts(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + ENCODED] for start in range(0, len(texts), ENCODED))


def _diversified(
    teacher: Clip, plan: Plan, texts: Sequence[str], embeddings: Tensor, details: tuple[dict[str, Any], ...]
) -> Diversified:
    """Gather the prompts and measure them."""
    unit, labels = F.normalize(embeddings, dim=-1), plan.labels.to(embeddings.device)
    kept = retention(unit, labels, plain_vectors(teacher, plan.names))
    figures = {"retention": kept} | distances(unit, labels)
    figures = {name: round(value, 4) for name, value in figures.items()}
    log.info("prompts: %s", ", ".join(f"{name} {value}" for name, value in figures.items()))
    prompts = Prompts(plan.labels.numpy().astype(np.int64), tuple(texts), unit.cpu().numpy(), details)
    return Diversified(prompts, figures)


def check(teacher: Clip, names: Sequence[str], settings: Diversify) -> None:
    """Refuse what the strategy could not do, before anything is made.

    Raises:
        DataError: a text would be cut (with its letters shuffled, a prompt may be longer), or styles cannot be read.
        UsageError: the strategy needs pseudo-words, and the teacher's text tower takes none.
    """
    if settings.strategy == "mix":
        teacher.refuse_long(_styled(settings, names))
    elif settings.strategy != "baseline":
        longest = spelled(settings.template) if settings.strategy == "contrastive" else settings.template
        TextTower(teacher).tokens(_with_pseudo_words(Plan(tuple(names), 1), longest))


Strategy = Callable[[Clip, tuple[str, ...], Diversify, int, Stopper], Diversified]
STRATEGIES: dict[str, Strategy] = {"baseline": baseline, "mix": mix, "random": random, "contrastive": contrastive}


def diversify(teacher: Clip, names: tuple[str, ...], settings: Diversify, seed: int, stopper: Stopper) -> Diversified:
    """Prompts for every class, ``images_per_class`` of each."""
    return STRATEGIES[settings.strategy](teacher, names, settings, seed, stopper)
