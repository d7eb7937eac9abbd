"""Three steps of guided synthesis, all parts ours, against the reference's (tests/golden, ``opt.*``)."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from golden_models import FOLDER, error, golden, reference_clip
from promptstill.models.clip import Clip
from promptstill.models.generator import VQGAN, load_vqgan
from promptstill.models.painter import Painter
from promptstill.models.taming import import_taming
from promptstill.ops.augment import SQUARE, Cutouts
from promptstill.ops.guidance import clamp_with_gradient, nearest_codes, spherical_distance
from promptstill.ops.preprocess import normalize
from promptstill.settings import Synthesize
from small_runs import vectors_of

LEARNING_RATE, STEPS = 0.15, 3
EXACT, LOOSE, LATENT = 1e-5, 2e-5, 5e-4


class State(NamedTuple):
    """Latents (2, 12, 12, 16), and what they give before the next step."""

    z: Tensor
    images: Tensor
    features: Tensor
    losses: Tensor
    grad: Tensor


def numbers(name: str) -> Tensor:
    return golden("vqgan_clip.safetensors")[f"opt.{name}"]


@pytest.fixture(scope="module")
def teacher() -> Clip:
    return reference_clip("student")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> VQGAN:
    published, folder = FOLDER / "vqgan", tmp_path_factory.mktemp("guided") / "vqgan"
    return load_vqgan(f"dir:{import_taming(published / 'model.ckpt', published / 'model.yaml', folder)}")


def descend(teacher: Clip, generator: VQGAN, rows: slice) -> Iterator[State]:
    """The states before step 1 and after each step, for some of the images."""
    z = generator.codebook[numbers("init_indices")[rows]].clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE)
    for _ in range(STEPS + 1):
        images = clamp_with_gradient(generator.decode(z))
        features = teacher.visual(normalize(images, teacher.preprocess))
        losses = spherical_distance(features, numbers("target")[rows])
        (grad,) = torch.autograd.grad(losses.sum(), z)
        yield State(z.detach().clone(), images.detach(), features.detach(), losses.detach(), grad)
        z.grad = grad
        optimizer.step()
        with torch.no_grad():
            z.copy_(generator.project(z))


@pytest.fixture(scope="module")
def states(teacher: Clip, generator: VQGAN) -> list[State]:
    return list(descend(teacher, generator, slice(None)))


def test_the_targets_are_the_teachers_own(teacher: Clip) -> None:
    target = torch.nn.functional.normalize(numbers("target"), dim=-1)
    assert error(teacher.embed_texts(["A dog", "A elephant"]), target) < EXACT


def test_losses_and_features_of_every_step_are_the_references(states: list[State]) -> None:
    assert error(torch.stack([state.losses for state in states]), numbers("losses")) < LOOSE
    assert error(torch.stack([state.features for state in states]), numbers("features")) < LOOSE


def test_the_gradient_of_the_latents_is_the_references(states: list[State]) -> None:
    assert error(states[0].grad.permute(0, 3, 1, 2), numbers("grad_z0")) < LOOSE


def test_the_latents_after_every_step_are_the_references(generator: VQGAN, states: list[State]) -> None:
    z = torch.stack([state.z for state in states[1:]])
    assert error(z.permute(0, 1, 4, 2, 3), numbers("z_after")) < LATENT
    assert torch.equal(nearest_codes(z, generator.codebook), numbers("indices_after"))
    assert not torch.equal(numbers("indices_after")[-1], numbers("init_indices")), "codes do change"
    assert error(states[-1].images, numbers("image_last")) < LATENT


@pytest.mark.parametrize("row", [0, 1])
def test_an_image_does_not_feel_its_neighbours(teacher: Clip, generator: VQGAN, states: list[State], row: int) -> None:
    for together, alone in zip(states, descend(teacher, generator, slice(row, row + 1)), strict=True):
        assert error(alone.losses, together.losses[row : row + 1]) < LOOSE
        assert error(alone.z, together.z[row : row + 1]) < LATENT


def test_the_painter_has_the_references_loss_when_its_cutout_is_the_picture(
    teacher: Clip, generator: VQGAN, states: list[State]
) -> None:
    size, n = teacher.preprocess.size, len(states[0].z)
    blank = torch.zeros(n, 3, size, size)
    plain = Cutouts(SQUARE.expand(n, 4, 2), torch.ones(n, 2), torch.zeros(n, 4), torch.zeros(n), blank)
    painter = Painter(teacher, generator, vectors_of(teacher), Synthesize(cutouts=1, smooth=0), seed=0)
    for state, wanted in zip(states, numbers("losses"), strict=True):
        loss, score = painter.loss(state.z, numbers("target"), torch.zeros(n, dtype=torch.long), plain)
        assert error(loss, wanted) < LOOSE
        assert bool((score >= 0).all() & (score <= 1).all())
