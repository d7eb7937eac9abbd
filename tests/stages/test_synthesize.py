"""An image is the same whatever is painted beside it, guidance finds the prompt, and finished shards stay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from promptstill.artifacts import Prompts
from promptstill.data.images import open_images
from promptstill.engine import Stopper, progress, stream, stream_seed
from promptstill.errors import DataError, Interrupted, UsageError
from promptstill.models.clip import Clip
from promptstill.models.generator import VQGAN, Latents
from promptstill.models.painter import CHECK, Finished, Painted, Painter
from promptstill.models.pixels import Pixels
from promptstill.models.proposer import ENOUGH
from promptstill.ops.augment import draw_cutouts, stack_cutouts
from promptstill.ops.guidance import spherical_distance
from promptstill.ops.hashing import state_hash
from promptstill.ops.preprocess import resize
from promptstill.settings import Diversify, Synthesize
from promptstill.stages.diversify import diversify
from promptstill.stages.synthesize import encode_png, numbers, soft_labels, synthesize
from small_runs import CLASSES, StopAfter, vectors_of

SMALL: dict[str, Any] = {
    "steps": 4,
    "batch_size": 4,
    "shard_size": 4,
    "image_size": 16,
    "start": "codes",
    "smooth": 0,
    "gate": False,
}


def painter(clip: Clip, generator: Latents, *, seed: int = 0, **settings: Any) -> Painter:
    return Painter(clip, generator, vectors_of(clip), Synthesize(**(SMALL | settings)), seed)


def prompts(clip: Clip, each: int = 2) -> Prompts:
    return diversify(clip, CLASSES, Diversify(images_per_class=each), 0, Stopper()).prompts


def finished(artist: Painter, asked: Prompts, rows: Sequence[int], earlier: Any = None) -> list[Painted]:
    with progress("test", 1) as ticker:
        made = artist.paint(asked, rows, earlier or Finished(), ticker, Stopper())
        return sorted(made, key=lambda each: each.row)


def painted(artist: Painter, asked: Prompts, rows: Sequence[int], earlier: Any = None) -> tuple[Tensor, Tensor]:
    made = finished(artist, asked, rows, earlier)
    assert [each.row for each in made] == list(rows)
    return torch.stack([each.image for each in made if each.image is not None]), torch.tensor([e.loss for e in made])


def run(artist: Painter, folder: Path, stopper: Stopper | None = None, asked: Prompts | None = None) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    asked = asked or prompts(artist.teacher)
    return synthesize(artist, asked, artist.vectors, folder, stopper or Stopper())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


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
        images, _ = painted(painter(clip, vqgan, steps=steps, cutouts=1), asked, range(12))
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
    loss, score = artist.loss(z, target, torch.tensor([0, 1]), drawn)
    assert not score.requires_grad
    (slope,) = torch.autograd.grad(loss[0], z)
    assert loss.shape == (2,)
    assert float(slope[0].abs().sum()) > 0
    assert float(slope[1].abs().sum()) == 0


def test_shards_are_the_same_bytes_each_time_and_tell_how_they_were_made(
    clip: Clip, vqgan: VQGAN, tmp_path: Path
) -> None:
    hashes = clip.hash, state_hash(vqgan.model)
    figures = run(painter(clip, vqgan), tmp_path / "a")
    run(painter(clip, vqgan), tmp_path / "b")
    assert shards(tmp_path / "a") == shards(tmp_path / "b")
    assert sorted(shards(tmp_path / "a")) == ["shard-00000.parquet", "shard-00001.parquet"]
    rows = rows_of(tmp_path / "a")
    assert [row["number"] for row in rows] == list(range(6))
    assert [row["class"] for row in rows] == [0, 1, 2] * 2
    assert [row["prompt"] for row in rows] == list(prompts(clip).texts)
    assert [row["seed"] for row in rows] == [stream_seed(0, "synthesize", i) for i in range(6)]
    assert [row["steps"] for row in rows] == [4] * 6
    right = [max(range(3), key=row["teacher_scores"].__getitem__) == row["class"] for row in rows]
    assert figures["recognised_by_teacher"] == pytest.approx(sum(right) / 6, abs=1e-4)
    assert (figures["images"], figures["mean_steps"], figures["classes_without_images"]) == (6, 4, [])
    assert figures["dropped"] == {"broken": 0, "not_recognised": 0}
    assert (state_hash(clip.model), state_hash(vqgan.model)) == hashes


def test_what_is_stored_is_what_was_painted(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    artist = painter(clip, vqgan)
    run(artist, tmp_path / "a")
    stored = open_images(tmp_path / "a" / "*.parquet")
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
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("*.parquet")}
    assert len(kept) == (checks >= 5)
    run(artist, tmp_path / "parts")
    assert shards(tmp_path / "parts") == shards(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_the_size_is_as_set_or_the_generators_or_the_teachers(clip: Clip, vqgan: VQGAN) -> None:
    assert painter(clip, vqgan, image_size=16).size == 16
    assert painter(clip, vqgan, image_size=None).size == clip.preprocess.size
    assert painter(clip, VQGAN("told", vqgan.model, {"image_size": 24}), image_size=None).size == 24


# --------------------------------------------------------------------------------------------- what makes it cheap

SAVINGS: dict[str, dict[str, Any]] = {
    "a slot is filled by the next": {"batch_size": 2},
    "it begins coarse": {"coarse": 0.5, "batch_size": 2},
    "it stops when sure or settled": {"steps": 21, "sure": 0.35, "settled": 0.003, "batch_size": 2},
    "it begins with shapes, and is smooth": {"start": "shapes", "smooth": 1.0, "keep_class": 0.1},
    "all of it": {"steps": 25, "coarse": 0.25, "sure": 0.34, "settled": 1e-3, "start": "paper", "batch_size": 3},
}


@pytest.mark.parametrize("saving", SAVINGS)
def test_with_every_saving_an_image_is_the_same_whatever_the_batch(clip: Clip, vqgan: VQGAN, saving: str) -> None:
    settings, asked = SAVINGS[saving] | {"cutouts": 1}, prompts(clip)
    together = finished(painter(clip, vqgan, **settings), asked, range(4))
    alone = [finished(painter(clip, vqgan, **(settings | {"batch_size": 1})), asked, [row])[0] for row in range(4)]
    assert [each.steps for each in together] == [each.steps for each in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.image is not None
        assert other.image is not None
        torch.testing.assert_close(one.image, other.image, atol=2e-3, rtol=0)
        assert one.loss == pytest.approx(other.loss, abs=1e-3)
        assert one.image.shape == (3, 16, 16)


def test_a_sure_image_stops_early_and_the_others_go_on(clip: Clip, vqgan: VQGAN) -> None:
    made = finished(painter(clip, vqgan, steps=25, sure=0.34, cutouts=1), prompts(clip), range(6))
    steps = [each.steps for each in made]
    assert set(steps) <= {CHECK, 2 * CHECK, 25}
    assert len(set(steps)) > 1


def test_an_image_that_never_gains_stops_at_the_second_look(clip: Clip, vqgan: VQGAN) -> None:
    made = finished(painter(clip, vqgan, steps=90, settled=9.0, cutouts=1), prompts(clip), range(2))
    assert [each.steps for each in made] == [2 * CHECK] * 2


def test_half_the_size_first_costs_less_and_ends_at_the_full_size(clip: Clip, vqgan: VQGAN) -> None:
    artist, sizes = painter(clip, vqgan, coarse=0.5, steps=8), list[int]()

    class Watched(VQGAN):
        def decode(self, z: Tensor) -> Tensor:
            sizes.append(z.shape[1])
            return super().decode(z)

    watched = Painter(clip, Watched("w", vqgan.model, vqgan.about), artist.vectors, artist.settings, 0)
    made = finished(watched, prompts(clip), range(2))
    assert sizes.count(2) >= 4
    assert sizes.count(4) >= 4
    assert [each.steps for each in made] == [8, 8]


def test_a_warm_start_is_a_finished_image_of_the_class_and_takes_fewer_steps(clip: Clip, vqgan: VQGAN) -> None:
    artist, asked = painter(clip, vqgan, warm_steps=2, steps=6), prompts(clip)
    image = torch.rand(3, 16, 16, generator=stream(0, "warm"))
    earlier = Finished({0: [image]})
    job, mirrored = artist.job(asked, 0, earlier), vqgan.encode(image.flip(-1)[None])[0]
    assert any(torch.allclose(job.z, start, atol=1e-5) for start in (mirrored, vqgan.encode(image[None])[0]))
    made = finished(artist, asked, range(6), earlier)
    assert [each.steps for each in made] == [2, 6, 6] * 2
    cold, _ = painted(painter(clip, vqgan, steps=6), asked, range(6))
    for row in (1, 2, 4, 5):
        image = made[row].image
        assert image is not None
        torch.testing.assert_close(image, cold[row], atol=1e-4, rtol=0)


def test_warm_runs_that_were_stopped_end_with_the_same_bytes(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    artist = painter(clip, vqgan, warm_steps=2, shard_size=3)
    run(artist, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(artist, tmp_path / "parts", StopAfter(6))
    run(artist, tmp_path / "parts")
    assert shards(tmp_path / "parts") == shards(tmp_path / "whole")
    assert [row["steps"] for row in rows_of(tmp_path / "whole")] == [4] * 3 + [2] * 3


def test_a_proposer_learns_where_the_images_of_a_prompt_lie(clip: Clip, vqgan: VQGAN) -> None:
    artist, asked = painter(clip, vqgan, propose_steps=2, steps=6), prompts(clip, each=ENOUGH)
    tints = torch.eye(3)  # images of a class are of one colour
    images = {row: tints[row % 3][:, None, None].expand(3, 16, 16) for row in range(ENOUGH)}
    learned = artist.proposer(asked, images)
    wanted = torch.stack([artist.generator.encode(images[row][None])[0] for row in range(3)])
    found = torch.stack([learned(torch.from_numpy(asked.embeddings[row])) for row in range(3)])
    assert torch.cdist(found.flatten(1), wanted.flatten(1)).argmin(1).tolist() == [0, 1, 2]
    again = artist.proposer(asked, images)(torch.from_numpy(asked.embeddings[0]))
    assert torch.equal(again, found[0]), "a pure function of the images"
    starts = [artist.job(asked, row, Finished({}, learned)) for row in (0, 3)]  # the same prompt twice
    assert [job.steps for job in starts] == [2, 2]
    assert not torch.equal(starts[0].z, starts[1].z), "each image keeps half of its own start"


def test_runs_with_proposals_that_were_stopped_end_with_the_same_bytes(
    clip: Clip, vqgan: VQGAN, tmp_path: Path
) -> None:
    artist, each = painter(clip, vqgan, propose_steps=1, steps=2, shard_size=ENOUGH, batch_size=16), ENOUGH // 2
    asked = prompts(clip, each)
    run(artist, tmp_path / "whole", asked=asked)
    with pytest.raises(Interrupted):
        run(artist, tmp_path / "parts", StopAfter(7), asked)
    run(artist, tmp_path / "parts", asked=asked)
    assert shards(tmp_path / "parts") == shards(tmp_path / "whole")
    assert [row["steps"] for row in rows_of(tmp_path / "whole")] == [2] * ENOUGH + [1] * (3 * each - ENOUGH)


def test_lower_precision_gives_about_the_same_loss_and_keeps_the_latents_in_fp32(clip: Clip, vqgan: VQGAN) -> None:
    asked, drawn = prompts(clip), stack_cutouts([draw_cutouts(2, 32, 0.1, stream(0, "p", i)) for i in range(2)])
    z = torch.stack([vqgan.draw(16, stream(0, "z", i)) for i in range(2)])
    target, label = torch.from_numpy(asked.embeddings[:2]), torch.tensor([0, 1])
    full, low = (painter(clip, vqgan, precision=p).loss(z, target, label, drawn)[0] for p in ("32-true", "bf16-mixed"))
    torch.testing.assert_close(low, full, atol=0.02, rtol=0)
    assert not torch.equal(low, full)
    slots_of = painter(clip, vqgan, precision="bf16-mixed")
    slots = slots_of.begin(asked, [slots_of.job(asked, row, Finished()) for row in range(2)])
    slots_of.step(slots)
    assert {slots.z.dtype, slots.first.dtype, slots.loss.dtype} == {torch.float32}


# ---------------------------------------------------------------------------------------------- what must be dropped


class Breaking(VQGAN):
    """Its second image of a run breaks after a few steps."""

    seen = 0

    def decode(self, z: Tensor) -> Tensor:
        images, self.seen = super().decode(z), self.seen + 1
        if self.seen < 4 or len(images) < 2:
            return images
        return torch.cat([images[:1], images[1:2] * torch.nan, images[2:]])


def test_an_image_whose_numbers_break_is_dropped_and_counted_and_its_neighbours_are_not(
    clip: Clip, vqgan: VQGAN, tmp_path: Path
) -> None:
    broken = Breaking("broken", vqgan.model, {})
    figures = run(painter(clip, broken, shard_size=6, batch_size=6), tmp_path / "broken")
    run(painter(clip, vqgan, shard_size=6, batch_size=6), tmp_path / "whole")
    assert figures["dropped"]["broken"] == 1
    assert figures["images"] == 5
    assert numbers(tmp_path / "broken") == [0, 2, 3, 4, 5]
    whole = {row["number"]: row["image"]["bytes"] for row in rows_of(tmp_path / "whole")}
    assert all(row["image"]["bytes"] == whole[row["number"]] for row in rows_of(tmp_path / "broken"))


def test_a_prompt_that_is_no_number_breaks_its_own_image_only(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    asked = prompts(clip)
    asked.embeddings[3] = np.nan
    figures = run(painter(clip, vqgan, steps=CHECK + 1, cutouts=1), tmp_path / "a", asked=asked)
    assert figures["dropped"]["broken"] == 1
    assert numbers(tmp_path / "a") == [0, 1, 2, 4, 5]


def test_the_gate_keeps_what_the_teacher_calls_by_its_class(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    every = run(painter(clip, vqgan), tmp_path / "every")
    gated = run(painter(clip, vqgan, gate=True), tmp_path / "gated")
    rows = [row for row in rows_of(tmp_path / "every") if int(np.argmax(row["teacher_scores"])) == row["class"]]
    assert rows_of(tmp_path / "gated") == rows
    assert 0 < gated["images"] == len(rows) < 6
    assert gated["dropped"]["not_recognised"] == 6 - len(rows)
    assert gated["recognised_by_teacher"] == every["recognised_by_teacher"]
    missing = {name for number, name in enumerate(CLASSES) if number not in {row["class"] for row in rows}}
    assert set(gated["classes_without_images"]) == missing
    assert len(open_images(tmp_path / "gated" / "*.parquet")) == len(rows)


def test_a_run_without_any_image_says_what_to_do(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    asked = prompts(clip)
    asked.embeddings[:] = np.nan
    with pytest.raises(DataError, match=r"none of the painted images.*synthesize\.gate=false"):
        run(painter(clip, vqgan), tmp_path / "a", asked=asked)


@pytest.mark.parametrize(("settings", "use"), [({"image_size": 18}, 16), ({"image_size": 20, "coarse": 0.5}, 16)])
def test_a_size_that_the_generator_cannot_paint_is_refused(
    clip: Clip, vqgan: VQGAN, settings: dict[str, Any], use: int
) -> None:
    with pytest.raises(UsageError, match=f"synthesize.image_size={use}"):
        assert painter(clip, vqgan, **settings).size


# ---------------------------------------------------------------------------------------------- pictures and generators


def test_the_sheet_shows_the_images_of_each_class(clip: Clip, vqgan: VQGAN, tmp_path: Path) -> None:
    run(painter(clip, vqgan, steps=1, sheet=2), tmp_path / "a")
    with Image.open(tmp_path / "a" / "sheet.png") as sheet:
        assert sheet.width > 2 * 64
        assert sheet.height > 3 * 64
    run(painter(clip, vqgan, steps=1, sheet=0), tmp_path / "b")
    assert not (tmp_path / "b" / "sheet.png").exists()


@pytest.mark.parametrize("coarse", [0.0, 0.5])
def test_pictures_can_be_found_without_any_generator(clip: Clip, coarse: float) -> None:
    asked, target = prompts(clip), torch.from_numpy(prompts(clip).embeddings)

    def distance(steps: int) -> Tensor:
        artist = painter(clip, Pixels(), steps=steps, image_size=None, cutouts=1, coarse=coarse)
        images, _ = painted(artist, asked, range(6))
        assert images.shape == (6, 3, 32, 32)
        with torch.no_grad():
            return spherical_distance(clip.embed_images(images), target)

    assert float(distance(20).mean()) < 0.9 * float(distance(2).mean())
