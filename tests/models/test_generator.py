"""A generator decodes codebook latents as diffusers does, and passes gradients straight through."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from promptstill.engine import stream
from promptstill.errors import MissingError, UsageError
from promptstill.models.generator import VQGAN, load_generator, load_vqgan
from tiny import make_vqgan


def latents(vqgan: VQGAN, count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.stack([vqgan.draw(size, stream(0, "z", i)) for i in range(count)])


def test_it_decodes_as_diffusers_does(vqgan: VQGAN, vqgan_dir: Path) -> None:
    from diffusers.models.autoencoders.vq_model import VQModel

    theirs = VQModel.from_pretrained(vqgan_dir, low_cpu_mem_usage=False)
    z = latents(vqgan) + 0.01
    with torch.no_grad():
        wanted = (theirs.decode(z.permute(0, 3, 1, 2)).sample + 1) / 2  # pyright: ignore
        torch.testing.assert_close(vqgan.decode(z), wanted, atol=1e-5, rtol=0)


def test_a_drawn_latent_is_codebook_rows_from_its_own_stream(vqgan: VQGAN) -> None:
    z = vqgan.draw(16, stream(0, "z"))
    assert z.shape == (4, 4, 4)
    assert torch.equal(z, vqgan.draw(16, stream(0, "z")))
    rows = {tuple(row) for row in vqgan.codebook.tolist()}
    assert all(tuple(cell) in rows for cell in z.flatten(0, 1).tolist())
    assert vqgan.draw(1, stream(0, "z")).shape == (1, 1, 4)


def test_the_image_has_the_size_that_was_asked_for(vqgan: VQGAN) -> None:
    with torch.no_grad():
        assert vqgan.decode(latents(vqgan, size=32)).shape == (2, 3, 32, 32)


def test_gradients_reach_the_latent_and_nothing_learns(vqgan: VQGAN) -> None:
    z = latents(vqgan).requires_grad_()
    vqgan.decode(z).square().sum().backward()
    assert z.grad is not None
    assert bool((z.grad.abs().sum((1, 2, 3)) > 0).all())
    assert not any(p.requires_grad for p in vqgan.model.parameters())
    assert not vqgan.model.training


def test_projection_keeps_latents_in_the_codebooks_range(vqgan: VQGAN) -> None:
    z = vqgan.project(100 * torch.randn(2, 4, 4, 4))
    assert bool((z >= vqgan.codebook.min(0).values).all())
    assert bool((z <= vqgan.codebook.max(0).values).all())


def test_what_its_makers_say_is_read(vqgan: VQGAN, vqgan_dir: Path, tmp_path: Path) -> None:
    assert vqgan.trained_on == "not stated by its makers"
    assert vqgan.image_size is None
    folder = shutil.copytree(vqgan_dir, tmp_path / "vqgan")
    (folder / "about.json").write_text(json.dumps({"trained_on": "icons", "image_size": 64}))
    told = load_vqgan(f"dir:{folder}")
    assert (told.trained_on, told.image_size, told.hash) == ("icons", 64, vqgan.hash)
    assert load_vqgan(f"dir:{make_vqgan(tmp_path / 'other', seed=1)}").hash != vqgan.hash


@pytest.mark.parametrize("uri", ["dalle", "dir:", "nano_vqgan", "hf:a/b"])
def test_an_unknown_generator_is_a_usage_error(uri: str) -> None:
    with pytest.raises(UsageError, match="unknown generator"):
        load_generator(uri)


@pytest.mark.parametrize("name", ["config.json", "diffusion_pytorch_model.safetensors"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_generator_without_sound_files_is_refused(vqgan_dir: Path, tmp_path: Path, name: str, how: str) -> None:
    folder = shutil.copytree(vqgan_dir, tmp_path / "vqgan")
    (folder / name).unlink() if how == "missing" else (folder / name).write_bytes(b"{")
    with pytest.raises(MissingError, match="vqgan") as caught:
        load_generator(f"dir:{folder}")
    assert "\n" not in str(caught.value)


def test_a_published_checkpoint_is_a_generator(tmp_path: Path) -> None:
    for suffix in ("ckpt", "yaml"):
        shutil.copy(Path(__file__).parents[1] / "golden" / "vqgan" / f"model.{suffix}", tmp_path)
    generator = load_vqgan(f"taming:{tmp_path / 'model.ckpt'}")
    again = load_vqgan(f"dir:{tmp_path / 'model-diffusers'}")
    assert generator.hash == again.hash
    assert generator.image_size == 16


def test_a_gumbel_vqgan_decodes_but_cannot_encode(tmp_path: Path) -> None:
    gumbel = VQGAN("gumbel", load_vqgan(f"dir:{make_vqgan(tmp_path / 'vqgan')}").model, {"encodes": False})
    with pytest.raises(UsageError, match=r"synthesize\.start=codes"):
        gumbel.encode(torch.rand(1, 3, 16, 16))


def test_dead_codes_are_neither_drawn_nor_found(tmp_path: Path) -> None:
    model = load_vqgan(f"dir:{make_vqgan(tmp_path / 'vqgan')}").model
    model.quantize.embedding.weight.data[5:] *= 1e-5
    generator = VQGAN("mostly dead", model, {})
    assert len(generator.codebook) == 5
    z = generator.draw(64, stream(0, "z"))
    assert {tuple(cell) for cell in z.flatten(0, 1).tolist()} == {tuple(row) for row in generator.codebook.tolist()}
