"""The resize of teacher, student and deployment is open_clip's own."""

import json

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from promptstill.ops.preprocess import Preprocess, normalize, resize, to_array, to_unit

PRE = Preprocess(16, (0.48, 0.45, 0.4), (0.26, 0.25, 0.27))
SIDES = st.integers(1, 120)


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@given(SIDES, SIDES, st.sampled_from([16, 32, 33]))
@example(49, 98, 32)
@example(147, 49, 32)
@example(1, 120, 16)
def test_a_picture_is_prepared_as_open_clip_does(
    mode: str, interpolation: str, width: int, height: int, size: int
) -> None:
    pre = Preprocess(size, PRE.mean, PRE.std, interpolation, mode)
    theirs = open_clip.image_transform(
        size, is_train=False, mean=PRE.mean, std=PRE.std, interpolation=interpolation, resize_mode=mode
    )
    image = picture(width, height)
    ours = normalize(to_unit(to_array(image, pre))[None], pre)[0]
    assert callable(theirs)
    wanted = theirs(image)
    assert isinstance(wanted, torch.Tensor)
    torch.testing.assert_close(ours, wanted, atol=1e-6, rtol=0)


def test_a_preprocess_survives_json() -> None:
    assert Preprocess.load(json.loads(json.dumps(PRE.dump()))) == PRE


def test_resize_leaves_the_right_size_alone_and_stays_in_range() -> None:
    images = torch.rand(2, 3, 16, 16)
    assert resize(images, 16) is images
    smaller = resize(images, 7)
    assert smaller.shape == (2, 3, 7, 7)
    assert 0 <= float(smaller.min()) <= float(smaller.max()) <= 1
    torch.testing.assert_close(resize(torch.full((1, 3, 9, 9), 0.25), 16), torch.full((1, 3, 16, 16), 0.25))


def test_resize_passes_gradients() -> None:
    images = torch.rand(1, 3, 16, 16).requires_grad_()
    resize(images, 8).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().min()) > 0
