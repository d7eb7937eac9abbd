"""The maths of guided synthesis against the numbers of reference implementations (tests/golden)."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from promptstill.ops.guidance import (
    adam_step,
    clamp_with_gradient,
    live_codes,
    nearest_codes,
    project,
    spherical_distance,
    straight_through,
    total_variation,
)

FOLDER = Path(__file__).resolve().parents[1] / "golden"
GOLDEN = load_file(FOLDER / "vqgan_clip.safetensors")
CODEBOOK = load_file(FOLDER / "codebook.safetensors")["codebook"]


def error(got: Tensor, want: Tensor) -> float:
    """The error measure of the golden numbers."""
    return float((got - want).abs().max() / max(1.0, float(want.abs().max())))


def distance_and_slope(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    distance = spherical_distance(x, y)
    distance.sum().backward()
    assert x.grad is not None
    return distance.detach(), x.grad


def test_spherical_distance_and_its_gradient_are_the_references() -> None:
    distance, slope = distance_and_slope(GOLDEN["sph.x"], GOLDEN["sph.y"])
    assert error(distance, GOLDEN["sph.value"]) < 1e-5
    assert error(slope, GOLDEN["sph.grad_x"]) < 1e-5


def test_spherical_distance_is_paired_and_broadcasts_only_when_asked() -> None:
    x, y = GOLDEN["sph.x"], GOLDEN["sph.y"]
    every = spherical_distance(x.unsqueeze(1), y.unsqueeze(0))
    assert error(every.mean(), GOLDEN["sph.broadcast_mean"]) < 1e-5
    torch.testing.assert_close(every.diagonal(), spherical_distance(x, y))


def test_spherical_distance_at_equal_and_opposite_vectors_is_exact_with_a_finite_gradient() -> None:
    distance, slope = distance_and_slope(GOLDEN["sph.edge_x"], GOLDEN["sph.edge_y"])
    assert error(distance, GOLDEN["sph.edge_exact"].float()) < 1e-5
    assert bool(slope.isfinite().all())
    assert not bool(GOLDEN["sph.edge_reference_grad"].isfinite().all()), "the reference's gradient is not finite here"
    orthogonal = GOLDEN["sph.edge_reference_grad"].isfinite().all(-1) & (GOLDEN["sph.edge_exact"] > 1e-3)
    assert error(slope[orthogonal], GOLDEN["sph.edge_reference_grad"][orthogonal]) < 1e-5


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_spherical_distance_is_half_the_squared_angle_whatever_the_lengths(seed: int, length: float) -> None:
    x, y = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    angle = torch.arccos(torch.cosine_similarity(x, y, dim=-1))
    torch.testing.assert_close(spherical_distance(length * x, y), angle.square() / 2)


def test_clamp_and_its_gradient_are_the_references() -> None:
    x = GOLDEN["clamp.x"].clone().requires_grad_()
    y = clamp_with_gradient(x)
    y.backward(GOLDEN["clamp.grad_out"])
    assert x.grad is not None
    assert error(y.detach(), GOLDEN["clamp.y"]) < 1e-5
    assert error(x.grad, GOLDEN["clamp.grad_in"]) < 1e-5


def test_straight_through_is_the_reference() -> None:
    z = GOLDEN["st.z"].clone().requires_grad_()
    quantised = straight_through(z, CODEBOOK)
    quantised.backward(GOLDEN["st.grad_out"])
    assert z.grad is not None
    assert error(quantised.detach(), GOLDEN["st.zq"]) < 1e-5
    assert torch.equal(z.grad, GOLDEN["st.grad_z"])


def test_projection_is_the_reference() -> None:
    assert error(CODEBOOK.min(0).values, GOLDEN["proj.z_min"]) < 1e-5
    assert error(CODEBOOK.max(0).values, GOLDEN["proj.z_max"]) < 1e-5
    projected = project(GOLDEN["proj.z"].permute(0, 2, 3, 1), CODEBOOK)
    assert error(projected.permute(0, 3, 1, 2), GOLDEN["proj.out"]) < 1e-5


def test_nearest_codes_are_the_nearest() -> None:
    z = GOLDEN["st.z"]
    wanted = torch.cdist(z.double().flatten(0, -2), CODEBOOK.double()).argmin(-1)
    assert torch.equal(nearest_codes(z, CODEBOOK).flatten(), wanted)
    assert torch.equal(nearest_codes(CODEBOOK, CODEBOOK), torch.arange(len(CODEBOOK)))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_projecting_twice_changes_nothing(scale: float) -> None:
    once = project(scale * GOLDEN["st.z"], CODEBOOK)
    assert torch.equal(project(once, CODEBOOK), once)


def test_adam_is_torchs_for_items_that_began_at_different_times() -> None:
    rng = torch.Generator().manual_seed(3)
    grads = torch.randn(5, 2, 4, 3, generator=rng)
    z = torch.randn(2, 4, 3, generator=rng)
    wanted = [each.clone().requires_grad_() for each in z]
    optimizers = [torch.optim.Adam([each], lr=0.15) for each in wanted]
    moments, step = (torch.zeros_like(z), torch.zeros_like(z)), torch.zeros(2)
    for number, grad in enumerate(grads):
        if number == 2:  # the second item begins anew
            optimizers[1] = torch.optim.Adam([wanted[1]], lr=0.15)
            moments[0][1], moments[1][1], step[1] = 0, 0, 0
        for item, optimizer in enumerate(optimizers):
            wanted[item].grad = grad[item].clone()
            optimizer.step()
        step += 1
        adam_step(z, grad, moments, step, 0.15)
    torch.testing.assert_close(z, torch.stack([each.detach() for each in wanted]), atol=1e-6, rtol=1e-5)


def test_rows_that_training_never_moved_are_no_codes() -> None:
    rows = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    rows[[2, 5, 6]] *= 1e-4
    assert torch.equal(live_codes(rows), rows[[0, 1, 3, 4, 7, 8, 9]])


def test_total_variation_is_zero_of_a_plain_picture_and_counts_each_edge() -> None:
    picture = torch.zeros(2, 3, 5, 5)
    picture[1, :, :, 2:] = 1.0
    torch.testing.assert_close(total_variation(picture), torch.tensor([0.0, 0.25]))
