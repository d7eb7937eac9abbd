"""A cutout is drawn from its image's own stream, and applied without looking at the rest of the batch."""

import torch
from torch import Tensor

from promptstill.engine import stream
from promptstill.ops.augment import SQUARE, Cutouts, apply_cutouts, draw_cutouts, stack_cutouts


def images(count: int = 2, size: int = 12) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def plain(n: int, size: int) -> Cutouts:
    """Cutouts that change nothing."""
    return Cutouts(
        SQUARE.expand(n, 4, 2), torch.ones(n, 2), torch.zeros(n, 4), torch.zeros(n), torch.zeros(n, 3, size, size)
    )


def same(a: Cutouts, b: Cutouts) -> bool:
    return all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in ("corners", "colour", "box", "level", "noise")
    )


def test_the_same_stream_draws_the_same_cutouts_and_another_stream_others() -> None:
    assert same(draw_cutouts(3, 8, 0.1, stream(0, "a", 1)), draw_cutouts(3, 8, 0.1, stream(0, "a", 1)))
    assert not same(draw_cutouts(3, 8, 0.1, stream(0, "a", 1)), draw_cutouts(3, 8, 0.1, stream(0, "a", 2)))


def test_the_cutouts_of_one_image_differ() -> None:
    drawn = draw_cutouts(4, 8, 0.1, stream(0, "a"))
    assert len({tuple(row.flatten().tolist()) for row in drawn.corners}) == 4


def test_what_is_drawn_stays_in_its_ranges() -> None:
    drawn = draw_cutouts(400, 4, 0.2, stream(0, "ranges"))
    assert 0.85 <= float(drawn.colour.min()) <= float(drawn.colour.max()) <= 1.15
    assert float(drawn.corners.abs().max()) < 2
    empty = (drawn.box[:, 2:] <= drawn.box[:, :2]).all(1)
    assert 0.4 < float(empty.float().mean()) < 0.6
    assert 0 <= float(drawn.level.min()) < 0.01 < 0.19 < float(drawn.level.max()) <= 0.2
    assert float(draw_cutouts(4, 4, 0.0, stream(0, "still")).level.abs().max()) == 0


def test_a_plain_cutout_is_the_picture() -> None:
    torch.testing.assert_close(apply_cutouts(images(), plain(2, 12)), images(), atol=1e-5, rtol=0)


def test_an_image_has_the_same_cutouts_in_any_batch() -> None:
    drawn = [draw_cutouts(3, 8, 0.1, stream(0, "image", i)) for i in range(2)]
    together = apply_cutouts(images(), stack_cutouts(drawn))
    assert together.shape == (6, 3, 8, 8)
    for i in range(2):
        alone = apply_cutouts(images()[i : i + 1], drawn[i])
        torch.testing.assert_close(together[3 * i : 3 * i + 3], alone, atol=1e-5, rtol=0)


def test_an_erased_box_is_empty_and_the_rest_is_untouched() -> None:
    cutout = plain(1, 12)
    erased = Cutouts(cutout.corners, cutout.colour, torch.tensor([[0.0, 0.5, 0.5, 1.0]]), cutout.level, cutout.noise)
    result = apply_cutouts(images(1), erased)
    assert float(result[..., 6:, :6].abs().max()) == 0
    torch.testing.assert_close(result[..., :6, :], images(1)[..., :6, :], atol=1e-5, rtol=0)


def test_a_shifted_frame_shows_the_shifted_picture() -> None:
    """Corners that go one half to the right put the picture's left part into the cutout's right part."""
    cutout = plain(1, 12)
    moved = Cutouts(cutout.corners + torch.tensor([1.0, 0.0]), cutout.colour, cutout.box, cutout.level, cutout.noise)
    result = apply_cutouts(images(1), moved)
    torch.testing.assert_close(result[..., 6:], images(1)[..., :6], atol=1e-4, rtol=0)


def test_gradients_reach_every_image_and_are_finite() -> None:
    pictures = images().requires_grad_()
    drawn = stack_cutouts([draw_cutouts(2, 8, 0.1, stream(0, "slope", i)) for i in range(2)])
    apply_cutouts(pictures, drawn).square().sum().backward()
    assert pictures.grad is not None
    assert bool(pictures.grad.isfinite().all())
    assert bool((pictures.grad.abs().sum((1, 2, 3)) > 0).all())


def test_an_images_cutouts_share_its_noise_each_at_its_own_strength() -> None:
    cutout = plain(1, 12)
    level, noise = torch.tensor([0.0, 0.1, 0.2]), torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    corners, colour, box = (each.expand(3, *each.shape[1:]) for each in (cutout.corners, cutout.colour, cutout.box))
    result = apply_cutouts(images(1), Cutouts(corners, colour, box, level, noise)) - images(1)
    torch.testing.assert_close(result, level[:, None, None, None] * noise, atol=1e-5, rtol=0)
