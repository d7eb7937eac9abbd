"""A view is a pure function of seed, image id and number; teacher and student see the very same crop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from promptstill.data.images import open_images, subset
from promptstill.data.views import Crop, Views, apply_crop, draw_crop
from small_runs import Renamed

NUMBERS = st.integers(0, 50)


def views(folder: Path, size: int = 16, *, seed: int = 5, crop: float = 0.5, flip: bool = True) -> Views:
    return Views(open_images(folder), seed, crop, flip, size, "bicubic")


@given(st.integers(0, 9), st.text("ab/é", max_size=4), NUMBERS, st.floats(0.05, 20), st.floats(0.01, 1))
def test_a_crop_stays_inside_and_keeps_its_shape(
    seed: int, name: str, number: int, aspect: float, least: float
) -> None:
    crop = draw_crop(seed, name, number, aspect, least, True)
    assert crop == draw_crop(seed, name, number, aspect, least, True)
    assert 0 <= crop.left <= crop.left + crop.width <= 1 + 1e-9
    assert 0 <= crop.top <= crop.top + crop.height <= 1 + 1e-9
    area, ratio = crop.width * crop.height, crop.width / crop.height * aspect
    fits = area >= least - 1e-9 and 3 / 4 - 1e-9 <= ratio <= 4 / 3 + 1e-9
    largest_square = max(crop.width, crop.height) == 1 and ratio == pytest.approx(1)
    assert fits or largest_square


def test_half_of_the_views_are_mirrored_and_none_if_not_wanted() -> None:
    mirrored = [draw_crop(0, "x", number, 1.0, 0.5, True).mirrored for number in range(600)]
    assert 0.42 < np.mean(mirrored) < 0.58
    assert not any(draw_crop(0, "x", number, 1.0, 0.5, False).mirrored for number in range(100))


def test_areas_spread_over_their_range() -> None:
    areas = [(c := draw_crop(0, "x", n, 1.0, 0.5, True)).width * c.height for n in range(400)]
    assert 0.5 <= min(areas) < 0.53
    assert max(areas) > 0.9


def test_mirroring_does_not_move_the_crop() -> None:
    for number in range(20):
        plain, turned = (draw_crop(0, "x", number, 1.3, 0.5, flip) for flip in (False, True))
        assert (plain.left, plain.top, plain.width, plain.height) == (
            turned.left,
            turned.top,
            turned.width,
            turned.height,
        )


def test_the_whole_picture_is_a_plain_resize_and_a_mirrored_crop_its_mirror() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    whole = apply_crop(picture, Crop(0, 0, 1, 1, False), 8, "bicubic")
    wanted = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(whole, wanted)
    assert np.array_equal(apply_crop(picture, Crop(0, 0, 1, 1, True), 8, "bicubic"), wanted[:, :, ::-1])


def test_a_view_depends_on_seed_id_and_number_alone(pictures: Path) -> None:
    first = views(pictures)
    order = [(index, number) for index in range(len(first)) for number in range(3)]
    pixels = {key: first.pixels(*key).copy() for key in order}
    again = views(pictures)
    assert all(np.array_equal(again.pixels(*key), pixels[key]) for key in reversed(order))
    part = Views(subset(open_images(pictures), [7, 2]), 5, 0.5, True, 16, "bicubic")
    assert np.array_equal(part.pixels(0, 1), pixels[7, 1])
    assert np.array_equal(part.pixels(1, 2), pixels[2, 2])


@pytest.mark.parametrize("change", ["seed", "id", "number", "crop"])
def test_another_seed_id_number_or_crop_is_another_view(pictures: Path, change: str) -> None:
    plain = views(pictures)
    others = Renamed(plain.images, tuple(f"other/{name}" for name in plain.images.ids))
    changed = {
        "seed": views(pictures, seed=6),
        "id": Views(others, 5, 0.5, True, 16, "bicubic"),
        "number": plain,
        "crop": views(pictures, crop=0.1),
    }[change]
    assert not np.array_equal(plain.pixels(0, 0), changed.pixels(0, int(change == "number")))


def test_a_batch_is_its_views_whatever_stands_beside_them(pictures: Path) -> None:
    some = views(pictures)
    batch = some.batch([3, 1, 4], 2)
    assert batch.shape == (3, 3, 16, 16)
    assert batch.dtype == torch.float32
    assert torch.equal(batch[1], some.batch([1], 2)[0])
    assert torch.equal(batch[1], torch.from_numpy(some.pixels(1, 2)).float() / 255)


def test_teacher_and_student_see_the_same_crop_at_their_own_sizes(tmp_path: Path) -> None:
    """On a smooth picture, the crop at another size is the resized crop."""
    across, down = np.meshgrid(np.linspace(0, 255, 200), np.linspace(0, 255, 150))
    Image.fromarray(np.stack([across, down, across / 2], -1).astype(np.uint8)).save(tmp_path / "a.png")
    large, small = views(tmp_path, 64), views(tmp_path, 16)
    for number in range(8):
        shrunk = Image.fromarray(large.pixels(0, number).transpose(1, 2, 0)).resize((16, 16), Image.Resampling.BICUBIC)
        difference = np.asarray(shrunk).transpose(2, 0, 1).astype(int) - small.pixels(0, number)
        assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("start", [0, 1, 4, 29, 30])
def test_every_view_of_all_images_in_one_go(pictures: Path, start: int) -> None:
    some, numbers = views(pictures), range(2, 5)
    wanted = torch.cat([some.batch([index], number) for index in range(len(some)) for number in numbers])
    batches = list(views(pictures).every(numbers, start, size=4))
    assert all(len(batch) == 4 for batch in batches[:-1])
    assert torch.equal(torch.cat([wanted[:0], *batches]), wanted[start:])
