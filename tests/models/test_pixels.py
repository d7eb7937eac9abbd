"""A picture's spectrum as a latent: decoding undoes encoding, and a step moves broad shapes more than grain."""

import torch

from promptstill.engine import stream
from promptstill.models.generator import load_generator
from promptstill.models.pixels import Pixels, weights


def test_decoding_undoes_encoding() -> None:
    images = 0.1 + 0.8 * torch.rand(2, 3, 12, 12, generator=stream(0, "images"))
    z = Pixels().encode(images)
    assert z.shape == (2, 12, 7, 6)
    torch.testing.assert_close(Pixels().decode(z), images, atol=1e-5, rtol=0)
    assert bool(Pixels().encode(images.round()).isfinite().all()), "black and white have latents too"


def test_a_drawn_picture_is_nearly_grey_and_its_streams_own() -> None:
    generator = load_generator("pixels")
    assert isinstance(generator, Pixels)
    first, again, other = (generator.draw(16, stream(0, "z", i)) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    image = generator.decode(first[None])
    assert image.shape == (1, 3, 16, 16)
    assert 0.3 < float(image.mean()) < 0.7
    assert float(image.std()) < 0.2


def test_long_waves_weigh_more() -> None:
    scale = weights(16)
    assert float(scale[0, 0]) == float(scale.max())
    assert float(scale[8, 8]) == float(scale.min())
    torch.testing.assert_close(scale.square().mean(), torch.tensor(1.0))


def test_it_claims_no_training() -> None:
    assert "no images" in load_generator("pixels").trained_on
