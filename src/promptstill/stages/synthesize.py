"""Prompts -> surrogate images: whatever paints them, they are judged by the teacher and go to shards."""

import io
import json
import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from promptstill.artifacts import ClassVectors, Prompts, write_atomic
from promptstill.data.sheet import contact_sheet
from promptstill.engine import Stopper, Ticker, progress
from promptstill.errors import DataError
from promptstill.models.clip import Clip
from promptstill.models.painter import Finished, Painted, Painter, Teller
from promptstill.models.proposer import ENOUGH, Proposer
from promptstill.models.vectors import as_judged
from promptstill.ops.contrastive import distances
from promptstill.ops.preprocess import resize, to_unit

log = logging.getLogger("promptstill")

DROPPED = b"promptstill.dropped"  # key of a shard's metadata: how many prompts have no image in it, by reason
FEWEST = 2  # images that a student can learn from
EMBEDDED = 64  # images that go through the teacher together
REMEMBERED = 64  # finished images a class that warm starts choose from


def synthesize(
    painter: Painter | Teller, prompts: Prompts, vectors: ClassVectors, folder: Path, stopper: Stopper
) -> dict[str, Any]:
    """Paint an image for each prompt into ``folder/shard-*.parquet``; shards that are there are kept.

    A shard is a pure function of the run's settings and of the shards before it, so a run that was stopped ends with
    the same bytes. An image whose numbers break, or that the teacher calls by another class (``gate``), is left out and
    counted. Returns what to note about the images.

    Raises:
        DataError: too few images are left.
    """
    shards = _shards(len(prompts.labels), painter.settings.shard_size)
    done = sum(len(rows) for at, rows in enumerate(shards) if _shard(folder, at).is_file())
    finished = Memory(painter, prompts)
    with progress("synthesize (image steps)", len(prompts.labels) * painter.steps, done * painter.steps) as ticker:
        for at, rows in enumerate(shards):
            path = _shard(folder, at)
            if not path.is_file():
                _write_shard(path, *_paint(painter, prompts, vectors, rows, finished, ticker, stopper))
            finished.read(path)
            log.info("shard %d of %d is there", at + 1, len(shards))
            stopper.check()
    figures = tally(folder, painter.teacher, vectors.names)
    if painter.settings.sheet:
        contact_sheet(sample(folder, vectors.names, painter.settings.sheet), folder / "sheet.png")
    return figures


@dataclass
class Memory:
    """What later images need of the finished ones (3, H, W): the last of each class, and who learned from the first."""

    painter: Painter | Teller
    prompts: Prompts
    images: dict[int, list[Tensor]] = field(default_factory=dict[int, list[Tensor]])
    first: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    proposer: Proposer | None = None

    def read(self, path: Path) -> None:
        """Take in a shard."""
        settings = self.painter.settings
        if isinstance(self.painter, Teller) or not (settings.warm_steps or settings.propose_steps):
            return
        for row in _rows(path, ["class", "number", "image"]):
            kept, image = self.images.setdefault(row["class"], []), _tensor(row["image"]["bytes"])
            kept.append(image)
            del kept[:-REMEMBERED]
            if settings.propose_steps and not self.proposer:
                self.first[row["number"]] = image
        if settings.propose_steps and not self.proposer and len(self.first) >= ENOUGH:
            self.proposer = self.painter.proposer(self.prompts, self.first)
            self.first.clear()


def _paint(
    painter: Painter | Teller,
    prompts: Prompts,
    vectors: ClassVectors,
    rows: Sequence[int],
    finished: Memory,
    ticker: Ticker,
    stopper: Stopper,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows of one shard, and how many images were dropped, by reason."""
    before = Finished(finished.images, finished.proposer)
    painted = sorted(painter.paint(prompts, rows, before, ticker, stopper), key=lambda each: each.row)
    whole = [each for each in painted if each.image is not None]
    kept = [_described(each, prompts, painter.teacher, vectors) for each in whole]
    known = [row for row in kept if _recognised(row)] if painter.settings.gate else kept
    dropped = {"broken": len(painted) - len(whole), "not_recognised": len(kept) - len(known)}
    if any(dropped.values()):
        log.warning("of %d images dropped: %s", len(painted), dropped)
    return known, dropped


def _recognised(row: dict[str, Any]) -> bool:
    """Whether the teacher calls a shard's image by its class."""
    return int(np.argmax(row["teacher_scores"])) == row["class"]


def _described(painted: Painted, prompts: Prompts, teacher: Clip, vectors: ClassVectors) -> dict[str, Any]:
    """A shard's row: PNG bytes and what made the image."""
    assert painted.image is not None
    scores = soft_labels(teacher, painted.image[None], vectors)[0]
    return {
        "image": {"bytes": encode_png(painted.image), "path": f"{painted.row:06d}.png"},
        "class": int(prompts.labels[painted.row]),
        "prompt": prompts.texts[painted.row],
        "number": painted.row,
        "seed": painted.seed,
        "loss": painted.loss,
        "steps": painted.steps,
        "teacher_scores": scores.tolist(),
    }


@torch.no_grad()
def soft_labels(teacher: Clip, images: Tensor, vectors: ClassVectors) -> Tensor:
    """The teacher's probabilities of the run's classes: (B, K)."""
    features = as_judged(teacher.embed_images(resize(images, teacher.preprocess.size)), vectors)
    return (vectors.scale * features @ torch.from_numpy(vectors.vectors).to(features).T).softmax(-1).cpu()


def _write_shard(path: Path, rows: list[dict[str, Any]], dropped: dict[str, int]) -> None:
    """One parquet file, written atomically; it may have no rows, and then says why."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "class": pa.int64(),
            "prompt": pa.string(),
            "number": pa.int64(),
            "seed": pa.int64(),
            "loss": pa.float64(),
            "steps": pa.int64(),
            "teacher_scores": pa.list_(pa.float64()),
        },
        metadata={DROPPED: json.dumps(dropped)},
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    write_atomic(path, lambda part: pq.write_table(table, part, compression="none"))


def tally(folder: Path, teacher: Clip, names: Sequence[str]) -> dict[str, Any]:
    """What the shards hold: images, those dropped and why, mean steps, and how far apart the images are.

    ``recognised_by_teacher`` is the share of all whole images that the teacher calls by their class.

    Raises:
        DataError: there are too few images to learn from.
    """
    import pyarrow.parquet as pq

    paths, dropped = sorted(folder.glob("shard-*.parquet")), {"broken": 0, "not_recognised": 0}
    for path in paths:
        told = json.loads(pq.read_schema(path).metadata[DROPPED])
        dropped = {reason: count + told[reason] for reason, count in dropped.items()}
    rows = [row for path in paths for row in _rows(path, ["class", "steps", "teacher_scores"])]
    if len(rows) < FEWEST:
        raise DataError(
            f"the teacher recognises {len(rows) or 'none'} of the painted images ({dropped}), too few to learn from; "
            "give more synthesize.steps, another generator, or synthesize.gate=false, in another --out"
        )
    labels = torch.tensor([row["class"] for row in rows])
    right, whole = sum(map(_recognised, rows)), len(rows) + dropped["not_recognised"]
    missing = [name for number, name in enumerate(names) if number not in labels.tolist()]
    if missing:
        log.warning("no image of %s was recognised; the student learns without them", ", ".join(missing))
    return {
        "images": len(rows),
        "dropped": dropped,
        "classes_without_images": missing,
        "recognised_by_teacher": round(right / whole, 4),
        "mean_steps": round(statistics.fmean(row["steps"] for row in rows), 1),
        **{f"{name}_classes": round(value, 4) for name, value in _spread(paths, labels, teacher).items()},
    }


@torch.no_grad()
def _spread(paths: Sequence[Path], labels: Tensor, teacher: Clip) -> dict[str, float]:
    """Mean cosine distances of the teacher's embeddings of the images within and between classes; a shard at a time."""
    size, features = teacher.preprocess.size, list[Tensor]()
    for images in (_rows(path, ["image"]) for path in paths):
        if images:
            pixels = torch.cat([resize(_tensor(row["image"]["bytes"])[None], size) for row in images])
            features += [teacher.embed_images(part).cpu() for part in pixels.split(EMBEDDED)]
    return distances(torch.cat(features), labels)


def numbers(folder: Path) -> list[int]:
    """Which prompts the images of the shards have, in order."""
    return [row["number"] for path in sorted(folder.glob("shard-*.parquet")) for row in _rows(path, ["number"])]


def sample(folder: Path, names: Sequence[str], each: int) -> dict[str, list[Image.Image]]:
    """The first images of each class."""
    found: dict[str, list[Image.Image]] = {name: [] for name in names}
    for path in sorted(folder.glob("shard-*.parquet")):
        for row in _rows(path, ["class", "image"]):
            own = found[names[int(row["class"])]]
            if len(own) < each:
                own.append(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"))
    return found


def encode_png(image: Tensor) -> bytes:
    """(3, H, W) in [0, 1] -> PNG bytes."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _tensor(png: bytes) -> Tensor:
    """PNG bytes -> (3, H, W) in [0, 1]."""
    pixels = np.array(Image.open(io.BytesIO(png)).convert("RGB"))
    return to_unit(pixels).permute(2, 0, 1)


def _rows(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns).to_pylist()


def _shards(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _shard(folder: Path, at: int) -> Path:
    return folder / f"shard-{at:05d}.parquet"
