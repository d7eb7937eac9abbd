"""Published taming-transformers checkpoints become generators that give the reference's numbers (tests/golden)."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from golden_models import FOLDER, error, golden
from promptstill.errors import DataError, MissingError, UsageError
from promptstill.models.generator import VQGAN, load_vqgan
from promptstill.models.taming import import_taming
from promptstill.ops.guidance import nearest_codes

CHECKPOINT, CONFIG, GUMBEL = (FOLDER / "vqgan" / name for name in ("model.ckpt", "model.yaml", "gumbel.yaml"))
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def vqgan(tmp_path_factory: pytest.TempPathFactory) -> VQGAN:
    folder = tmp_path_factory.mktemp("taming") / "vqgan"
    return load_vqgan(f"dir:{import_taming(CHECKPOINT, CONFIG, folder)}")


@pytest.fixture(scope="module")
def gumbel(tmp_path_factory: pytest.TempPathFactory) -> VQGAN:
    """The same network with the other quantiser, whose tensors the golden file holds."""
    folder = tmp_path_factory.mktemp("gumbel")
    state = dict(torch.load(CHECKPOINT, weights_only=True)["state_dict"])
    del state["quantize.embedding.weight"]
    state |= {key.removeprefix("gumbel."): v for key, v in golden("vqgan.safetensors").items() if "gumbel.quant" in key}
    torch.save({"state_dict": state}, folder / "gumbel.ckpt")
    return load_vqgan(f"dir:{import_taming(folder / 'gumbel.ckpt', GUMBEL, folder / 'out')}")


def numbers(name: str) -> Tensor:
    return golden("vqgan.safetensors")[name]


def codes(model: VQGAN, z: Tensor) -> tuple[Tensor, Tensor]:
    """Channel-first latents -> indices (B, h, w) and their rows, channel-first."""
    index = nearest_codes(z.permute(0, 2, 3, 1), model.codebook)
    return index, model.codebook[index].permute(0, 3, 1, 2)


def decoded(model: VQGAN, z: Tensor) -> Tensor:
    """Channel-first latents -> the decoder's output in about [-1, 1]."""
    with torch.no_grad():
        return 2 * model.decode(z.permute(0, 2, 3, 1)) - 1


def test_decoding_is_the_references(vqgan: VQGAN) -> None:
    index, rows = codes(vqgan, numbers("in.z"))
    assert torch.equal(index, numbers("out.indices"))
    assert error(rows, numbers("out.zq")) == 0
    image = decoded(vqgan, numbers("in.z"))
    assert error(image, numbers("out.dec")) < TOLERANCE
    assert error(((image + 1) / 2).clamp(0, 1), numbers("out.image01")) < TOLERANCE


def test_decoding_at_another_size_and_shape_is_the_references(vqgan: VQGAN) -> None:
    """7 x 11 cells, where the model was configured for 8 x 8: attention stands where the configuration says."""
    assert torch.equal(codes(vqgan, numbers("in.z_big"))[0], numbers("out.indices_big"))
    assert error(decoded(vqgan, numbers("in.z_big")), numbers("out.dec_big")) < TOLERANCE


@torch.no_grad()
def test_encoding_is_the_references(vqgan: VQGAN) -> None:
    pixels = 2 * numbers("in.image01") - 1
    assert error(vqgan.model.encoder(pixels), numbers("out.enc_h")) < TOLERANCE
    z = vqgan.model.encode(pixels).latents
    assert error(z, numbers("out.enc_z")) < TOLERANCE
    index, rows = codes(vqgan, z)
    assert torch.equal(index, numbers("out.enc_indices"))
    assert error(decoded(vqgan, z), numbers("out.enc_rec")) < TOLERANCE
    assert error(1.25 * (rows - z).square().mean(), numbers("out.enc_commit_loss")) < TOLERANCE


@torch.no_grad()
def test_a_gumbel_vqgan_is_searched_for_the_nearest_row(gumbel: VQGAN) -> None:
    assert error(codes(gumbel, numbers("in.z"))[1], numbers("out.gumbel.nn_zq")) == 0
    assert error(decoded(gumbel, numbers("in.z")), numbers("out.gumbel.nn_dec")) < TOLERANCE


@torch.no_grad()
def test_a_gumbel_vqgans_own_codes_decode_as_the_references(gumbel: VQGAN) -> None:
    h = gumbel.model.encode(2 * numbers("in.image01") - 1).latents
    weight, bias = (numbers(f"gumbel.quantize.proj.{each}") for each in ("weight", "bias"))
    scores = torch.nn.functional.conv2d(h, weight, bias)
    assert error(scores, numbers("out.gumbel.logits")) < TOLERANCE
    assert torch.equal(scores.argmax(1), numbers("out.gumbel.indices"))
    rows = gumbel.codebook[scores.argmax(1)].permute(0, 3, 1, 2)
    assert error(rows, numbers("out.gumbel.zq")) == 0
    assert error(decoded(gumbel, rows), numbers("out.gumbel.rec")) < TOLERANCE


def test_norms_have_the_published_epsilon(vqgan: VQGAN) -> None:
    norms = [m for m in vqgan.model.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert {(norm.eps, norm.num_groups) for norm in norms} == {(1e-6, 32)}


def test_a_transformers_checkpoint_gives_the_vqgan_inside_it(vqgan: VQGAN, tmp_path: Path) -> None:
    state = torch.load(CHECKPOINT, weights_only=True)["state_dict"]
    inside = {f"first_stage_model.{key}": tensor for key, tensor in state.items()}
    torch.save({"state_dict": inside | {"transformer.tok_emb.weight": torch.zeros(2, 2)}}, tmp_path / "net2net.ckpt")
    first_stage = yaml.safe_load(CONFIG.read_text())["model"]
    target = "taming.models.cond_transformer.Net2NetTransformer"
    outer = {"model": {"target": target, "params": {"first_stage_config": first_stage}}}
    (tmp_path / "net2net.yaml").write_text(yaml.safe_dump(outer))
    folder = import_taming(tmp_path / "net2net.ckpt", tmp_path / "net2net.yaml", tmp_path / "out")
    assert load_vqgan(f"dir:{folder}").hash == vqgan.hash


def test_it_is_converted_once_and_says_where_it_came_from(tmp_path: Path) -> None:
    folder = import_taming(CHECKPOINT, CONFIG, tmp_path / "out", trained_on="ImageNet")
    assert sorted(p.name for p in folder.iterdir()) == [
        "about.json",
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    generator = load_vqgan(f"dir:{folder}")
    assert (generator.trained_on, generator.image_size, generator.factor) == ("ImageNet", 16, 2)
    before = (folder / "config.json").stat().st_mtime_ns
    import_taming(CHECKPOINT, CONFIG, folder)
    assert (folder / "config.json").stat().st_mtime_ns == before
    assert len(json.loads((folder / "about.json").read_text())["source"]["checkpoint"]) == 64
    (folder / "config.json").unlink()  # as a conversion that was stopped leaves it
    import_taming(CHECKPOINT, CONFIG, folder)
    assert (folder / "config.json").is_file()


def leave_a_trace() -> None:
    Path("ran.txt").touch()


class Callback:
    """Runs something when an ordinary unpickler meets it."""

    def __reduce__(self) -> Any:
        return (leave_a_trace, ())


class Crooked:
    """Needs a function found by another function, which no class of a training framework does."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran.txt"),))


def test_classes_in_a_checkpoint_are_neither_needed_nor_run(
    vqgan: VQGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published checkpoints hold Lightning's classes, as keys and as objects; nobody needs Lightning to read them."""
    monkeypatch.chdir(tmp_path)
    content = torch.load(CHECKPOINT, weights_only=True)
    content["callbacks"] = {Callback: {"best": 1.0}, "object": Callback(), "more": defaultdict(list, {"a": [1]})}
    torch.save(content, tmp_path / "with_classes.ckpt")
    folder = import_taming(tmp_path / "with_classes.ckpt", CONFIG, tmp_path / "out")
    assert load_vqgan(f"dir:{folder}").hash == vqgan.hash
    assert not (tmp_path / "ran.txt").exists()


def test_a_checkpoint_that_calls_what_it_finds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "more": Crooked()}, tmp_path / "crooked.ckpt")
    with pytest.raises(DataError, match=r"crooked\.ckpt is damaged \('Shell' object is not callable\)"):
        import_taming(tmp_path / "crooked.ckpt", CONFIG, tmp_path / "out")
    assert not (tmp_path / "ran.txt").exists()


def changed(tmp_path: Path, **values: Any) -> Path:
    content = yaml.safe_load(CONFIG.read_text())
    content["model"]["params"]["ddconfig"] |= values
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "model.yaml"


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"has another shape of encoder\.conv_in\.weight"):
        import_taming(CHECKPOINT, changed(tmp_path, ch=64), out)
    with pytest.raises(DataError, match=r"lacks encoder\.down_blocks\.0\.attentions\.0"):
        import_taming(CHECKPOINT, changed(tmp_path, attn_resolutions=[8, 16]), out)
    with pytest.raises(UsageError, match="without a codebook"):
        import_taming(CHECKPOINT, changed(tmp_path, double_z=True), out)
    (tmp_path / "other.yaml").write_text("a: 1")
    with pytest.raises(UsageError, match=r"no config of a taming-transformers VQGAN \(no 'model'\)"):
        import_taming(CHECKPOINT, tmp_path / "other.yaml", out)
    with pytest.raises(MissingError, match=r"nowhere\.ckpt does not exist"):
        import_taming(tmp_path / "nowhere.ckpt", CONFIG, out)
    assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"PK\x03\x04 half of a zip"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.ckpt").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.ckpt is no checkpoint of torch 1\.6 or later"):
        import_taming(tmp_path / "bad.ckpt", CONFIG, tmp_path / "out")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        import_taming(CHECKPOINT, CONFIG, tmp_path)
