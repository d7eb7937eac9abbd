"""Prompts -> surrogate images: a generator's latent is optimised until the teacher sees the prompt in the picture."""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from promptstill.artifacts import ClassVectors, Prompts, write_atomic
from promptstill.engine import Stopper, Ticker, progress, stream
from promptstill.models.clip import Clip
from promptstill.models.generator import VQGAN
from promptstill.ops.augment import Cutouts, apply_cutouts, draw_cutouts, stack_cutouts
from promptstill.ops.guidance import clamp_with_gradient, spherical_distance
from promptstill.ops.preprocess import resize
from promptstill.settings import Synthesize

log = logging.getLogger("promptstill")


@dataclass(frozen=True)
class Painter:
    """A generator under a teacher's guidance."""

    teacher: Clip
    generator: VQGAN
    settings: Synthesize
    seed: int

    @property
    def size(self) -> int:
        """Side of the painted images: as set, else the generator's own, else the teacher's input."""
        return self.settings.image_size or self.generator.image_size or self.teacher.preprocess.size

    def paint(self, prompts: Prompts, rows: range, ticker: Ticker, stopper: Stopper) -> tuple[Tensor, Tensor]:
        """Optimise the latents of some prompts together: images (B, 3, H, W) in [0, 1] and their last losses (B,).

        DFKD-VLFM eq. 3 by VQGAN-CLIP: each image is compared with its own prompt alone, over augmented cutouts, and
        draws from its own random stream. The loss is summed over the batch, so that images do not touch each other.
        """
        streams = [stream(self.seed, "synthesize", row) for row in rows]
        target = torch.from_numpy(prompts.embeddings[rows.start : rows.stop]).to(self.teacher.device)
        z = torch.stack([self.generator.draw(self.size, s) for s in streams]).requires_grad_()
        optimizer = torch.optim.Adam([z], lr=self.settings.lr)
        loss = torch.zeros(len(rows))
        for _ in range(self.settings.steps):
            loss = self.step(z, target, optimizer, streams)
            ticker.advance(len(rows))
            stopper.check()
        with torch.no_grad():
            return self.generator.decode(z).clamp(0, 1).cpu(), loss.cpu()

    def step(
        self, z: Tensor, target: Tensor, optimizer: torch.optim.Optimizer, streams: list[torch.Generator]
    ) -> Tensor:
        """One descent step on the latents z (B, h, w, C), in place; returns each image's loss (B,) before it."""
        cutouts, noise, size = self.settings.cutouts, self.settings.noise, self.teacher.preprocess.size
        drawn = stack_cutouts([draw_cutouts(cutouts, size, noise, s) for s in streams])
        loss = self.loss(z, target, drawn)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        with torch.no_grad():
            z.copy_(self.generator.project(z))
        return loss.detach()

    def loss(self, z: Tensor, target: Tensor, drawn: Cutouts) -> Tensor:
        """Spherical distance of each image's cutouts to its own prompt (B, D), averaged over the cutouts: (B,)."""
        images = clamp_with_gradient(self.generator.decode(z))
        features = self.teacher.embed_images(apply_cutouts(images, drawn)).view(len(z), -1, target.shape[-1])
        return spherical_distance(features, target.unsqueeze(1)).mean(1)


def synthesize(painter: Painter, prompts: Prompts, vectors: ClassVectors, folder: Path, stopper: Stopper) -> float:
    """Paint one image for each prompt into ``folder/shard-*.parquet``; shards that are there are kept.

    A shard is always the same images, so a run that was stopped ends with the same bytes. Returns the share of images
    that the teacher calls by their own class.
    """
    shards = list(_shards(len(prompts.labels), painter.settings.batch_size))
    done = sum(len(rows) for at, rows in enumerate(shards) if _shard(folder, at).is_file())
    steps = painter.settings.steps
    with progress("synthesize (image steps)", len(prompts.labels) * steps, done * steps) as ticker:
        for at, rows in enumerate(shards):
            if _shard(folder, at).is_file():
                continue
            images, losses = painter.paint(prompts, rows, ticker, stopper)
            scores = soft_labels(painter.teacher, images, vectors)
            _write_shard(_shard(folder, at), prompts, rows, images, losses, scores)
            log.info("shard %d of %d: mean loss %.3f", at + 1, len(shards), float(losses.mean()))
            stopper.check()
    return _recognised(folder)


@torch.no_grad()
def soft_labels(teacher: Clip, images: Tensor, vectors: ClassVectors) -> Tensor:
    """The teacher's probabilities of the run's classes: (B, K)."""
    features = teacher.embed_images(resize(images, teacher.preprocess.size))
    return (vectors.scale * features @ torch.from_numpy(vectors.vectors).to(features).T).softmax(-1).cpu()


def _write_shard(path: Path, prompts: Prompts, rows: range, images: Tensor, losses: Tensor, scores: Tensor) -> None:
    """One parquet file of PNG bytes with what made each image, written atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "image": [
            {"bytes": encode_png(image), "path": f"{row:06d}.png"} for row, image in zip(rows, images, strict=True)
        ],
        "class": [int(prompts.labels[row]) for row in rows],
        "prompt": [prompts.texts[row] for row in rows],
        "number": list(rows),
        "loss": losses.tolist(),
        "teacher_scores": scores.tolist(),
    }
    write_atomic(path, lambda part: pq.write_table(pa.table(columns), part, compression="none"))


def encode_png(image: Tensor) -> bytes:
    """(3, H, W) in [0, 1] -> PNG bytes."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _recognised(folder: Path) -> float:
    import pyarrow.parquet as pq

    tables = [
        pq.read_table(path, columns=["class", "teacher_scores"]) for path in sorted(folder.glob("shard-*.parquet"))
    ]
    classes = torch.cat([torch.tensor(t["class"].to_pylist()) for t in tables])
    scores = torch.cat([torch.tensor(t["teacher_scores"].to_pylist()) for t in tables])
    return float(scores.argmax(-1).eq(classes).float().mean())


def _shards(count: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _shard(folder: Path, at: int) -> Path:
    return folder / f"shard-{at:05d}.parquet"
