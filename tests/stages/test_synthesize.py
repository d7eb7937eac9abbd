"""An image is the same whatever is painted beside it, guidance finds the prompt, and finished shards stay."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from promptstill.artifacts import Prompts
from promptstill.data.images import open_images
from promptstill.engine import Stopper, progress, stream
from promptstill.errors import Interrupted
from promptstill.models.clip import Clip
from promptstill.models.generator import VQGAN
from promptstill.ops.augment import draw_cutouts, stack_cutouts
from promptstill.ops.guidance import spherical_distance
from promptstill.ops.hashing import state_hash
from promptstill.ops.preprocess import resize
from promptstill.settings import Diversify, Synthesize
from promptstill.stages.diversify import diversify
from promptstill.stages.synthesize import Painter, encode_png, soft_labels, synthesize
from small_runs import CLASSES, StopAfter, vectors_of


def painter(clip: Clip, vqgan: VQGAN, *, seed: int = 0, **settings: Any) -> Painter:
    return Painter(
        clip, vqgan, Synthesize(**({"steps": 4, "cutouts": 2, "batch_size": 4, "image_size": 16} | settings)), seed
    )


def prompts(clip: Clip, each: int = 2) -> Prompts:
    return diversify(clip, CLASSES, Diversify(images_per_class=each), 0, Stopper()).prompts


def painted(artist: Painter, asked: Prompts, rows: range) -> tuple[torch.Tensor, torch.Tensor]:
    with progress("test", 1) as ticker:
        return artist.paint(asked, rows, ticker, Stopper())


def run(artist: Painter, folder: Path, stopper: Stopper | None = None) -> float:
    folder.mkdir(exist_ok=True)
    return synthesize(artist, prompts(artist.teacher), vectors_of(artist.teacher), folder, stopper or Stopper())


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_image_is_the_same_whatever_the_batch(clip: Clip, vqgan: VQGAN) -> None:
    artist, asked = painter(clip, vqgan), prompts(clip)
    together, losses = painted(artist, asked, range(6))
    for rows in (range(4, 5), range(2, 6), range(3)):
        images, some = painted(artist, asked, rows)
        torch.testing.assert_close(images, together[rows.start : rows.stop], atol=1e-4, rtol=0)
        torch.testing.assert_close(some, losses[rows.start : rows.stop], atol=1e-4, rtol=0)
    assert together.shape == (6, 3, 16, 16)
    assert 0 <= float(together.min()) <= float(together.max()) <= 1


def test_images_and_seeds_differ(clip: Clip, vqgan: VQGAN) -> None:
    asked = prompts(clip)
    images, _ = painted(painter(clip, vqgan), asked, range(6))
    other, _ = painted(painter(clip, vqgan, seed=1), asked, range(6))
    assert float((images[0] - images[3]).abs().max()) > 0.01, "two images of one class"
    assert float((images - other).abs().amax((1, 2, 3)).min()) > 0.01


def test_guidance_brings_the_images_nearer_to_their_own_prompts(clip: Clip, vqgan: VQGAN) -> None:
    asked = prompts(clip, each=4)
    target = torch.from_numpy(asked.embeddings)

    def distance(steps: int) -> torch.Tensor:
        images, _ = painted(painter(clip, vqgan, steps=steps), asked, range(12))
        with torch.no_grad():
            return spherical_distance(clip.embed_images(resize(images, 32)), target)

    before, after = distance(1), distance(30)
    assert float(after.mean()) < 0.97 * float(before.mean())
    assert float((after < before).float().mean()) > 0.8


def test_one_step_of_one_image_does_not_move_the_others(clip: Clip, vqgan: VQGAN) -> None:
    artist = painter(clip, vqgan)
    z = torch.stack([vqgan.draw(16, stream(0, "z", i)) for i in range(2)]).requires_grad_()
    target = torch.from_numpy(prompts(clip).embeddings[:2])
    drawn = stack_cutouts([draw_cutouts(2, 32, 0.1, stream(0, "c", i)) for i in range(2)])
    loss = artist.loss(z, target, drawn)
    (slope,) = torch.autograd.grad(loss[0], z)
    assert loss.shape == (2,)
    assert float(slope[0].abs().sum()) > 0
    assert float(slope[1].abs().sum()) == 0


def test_shards_are_the_same_bytes_each_time_and_tell_how_they_were_made(
    clip: Clip, vqgan: VQGAN, tmp_path: Path
) -> None:
    hashes = clip.hash, state_hash(vqgan.model)
    share = run(painter(clip, vqgan), tmp_path / "a")
    run(painter(clip, vqgan), tmp_path / "b")
    assert shards(tmp_path / "a") == shards(tmp_path / "b")
    assert sorted(shards(tmp_path / "a")) == ["shard-00000.parquet", "shard-00001.parquet"]
    rows = [row for path in sorted((tmp_path / "a").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [row["number"] for row in rows] == list(range(6))
    assert [row["class"] for row in rows] == [0, 1, 2] * 2
    assert [row["prompt"] for row in rows] == list(prompts(clip).texts)
    right = [max(range(3), key=row["teacher_scores"].__getitem__) == row["class"] for row in rows]
    assert share == pytest.approx(sum(right) / 6)
    assert (state_hash(clip.model), state_hash(vqgan.model)) == hashes


def test_what_is_stored_is_what_was_painted(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    artist = painter(clip, vqgan)
    run(artist, tmp_path / "a")
    stored = open_images(tmp_path / "a")
    images, _ = painted(artist, prompts(clip), range(4))
    assert len(stored) == 6
    assert [stored.data(i) for i in range(4)] == [encode_png(image) for image in images]
    scores = soft_labels(clip, images, vectors_of(clip))
    torch.testing.assert_close(scores.sum(-1), torch.ones(4))
    kept = pq.read_table(tmp_path / "a" / "shard-00000.parquet")["teacher_scores"].to_pylist()
    torch.testing.assert_close(torch.tensor(kept), scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("checks", [2, 5, 8])  # four steps and the shard's end are five safe points a shard
def test_a_stopped_run_keeps_its_shards_and_ends_with_the_same_bytes(
    clip: Clip, vqgan: VQGAN, tmp_path: Path, checks: int
) -> None:
    artist = painter(clip, vqgan)
    run(artist, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(artist, tmp_path / "parts", StopAfter(checks))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert len(kept) == (checks >= 5)
    run(artist, tmp_path / "parts")
    assert shards(tmp_path / "parts") == shards(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_the_size_is_as_set_or_the_generators_or_the_teachers(clip: Clip, vqgan: VQGAN) -> None:
    assert painter(clip, vqgan, image_size=16).size == 16
    assert painter(clip, vqgan, image_size=None).size == clip.preprocess.size
    assert painter(clip, VQGAN("told", vqgan.model, {"image_size": 24}), image_size=None).size == 24
