"""A teacher gives the very features of open_clip, and nothing can set it in motion."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import HFTokenizer
from PIL import Image
from safetensors.torch import load_file, save_file

from promptstill.errors import DataError, MissingError, UsageError
from promptstill.models.clip import Clip, image_tower, load_clip
from promptstill.ops.preprocess import to_array, to_unit
from tiny import make_clip


@pytest.mark.parametrize("size", [(40, 36), (32, 32), (17, 90), (64, 33)])
def test_images_are_embedded_as_open_clip_does(clip_dir: Path, clip: Clip, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip_dir}")
    prepared = transform(picture)  # pyright: ignore
    with torch.no_grad():
        wanted = theirs.eval().encode_image(prepared[None], normalize=True)  # pyright: ignore
        ours = clip.embed_images(to_unit(to_array(picture, clip.preprocess))[None])
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


def test_texts_are_embedded_as_open_clip_does_in_any_batch(clip_dir: Path, clip: Clip) -> None:
    texts = ["a photo of a dog.", "a hot air balloon", "犬", ""]
    theirs = open_clip.create_model(f"local-dir:{clip_dir}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_dir}")(texts)
    with torch.no_grad():
        wanted = theirs.encode_text(tokens, normalize=True)  # pyright: ignore
    torch.testing.assert_close(clip.embed_texts(texts), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(clip.embed_texts(texts, batch_size=1), wanted, atol=1e-5, rtol=0)


def test_features_are_unit_and_the_scale_is_the_models(clip: Clip) -> None:
    features = clip.embed_images(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))
    assert features.shape == (2, clip.dim)
    assert clip.scale == pytest.approx(1 / 0.07)


def test_the_hash_follows_the_weights(clip_dir: Path, clip: Clip, tmp_path: Path) -> None:
    copy = shutil.copytree(clip_dir, tmp_path / "copy")
    assert load_clip(f"dir:{copy}").hash == clip.hash
    weights = load_file(copy / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, copy / "open_clip_model.safetensors")
    assert load_clip(f"dir:{copy}").hash != clip.hash
    assert load_clip(f"dir:{make_clip(tmp_path / 'other', seed=1)}").hash != clip.hash


def test_nothing_of_it_learns_but_gradients_pass_to_the_images(clip: Clip) -> None:
    assert not any(module.training for module in clip.model.modules())
    assert not any(p.requires_grad for p in clip.model.parameters())
    images = torch.rand(1, 3, 32, 32).requires_grad_()
    clip.embed_images(images)[0, 0].backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_a_text_that_is_too_long_is_refused_and_the_longest_that_fits_is_not(clip: Clip) -> None:
    assert clip.embed_texts(["dog " * 22]).shape == (1, clip.dim)  # 22 tokens, start and end
    with pytest.raises(DataError, match=r"over 24 tokens, all that dir:.* reads; shorten it"):
        clip.embed_texts(["cat", "dog " * 23])


def test_a_text_that_another_librarys_tokenizer_would_cut_is_refused(clip_dir: Path, tmp_path: Path) -> None:
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = {"<pad>": 0, "<unk>": 1, "</s>": 2, "dog": 3}
    whole = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    whole.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    whole.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=whole, **special).save_pretrained(tmp_path)
    base = load_clip(f"dir:{clip_dir}")
    clip = Clip("other", base.model, HFTokenizer(str(tmp_path), context_length=24), base.config)
    clip.refuse_long(["dog " * 23, "dog"])  # 23 tokens and the end
    with pytest.raises(DataError, match=r"over 24 tokens, all that other reads; shorten it"):
        clip.refuse_long(["dog", "dog " * 24])


def test_an_image_tower_is_built_again_without_the_text_side(clip: Clip) -> None:
    tower = image_tower(clip.config)
    tower.load_state_dict(clip.visual.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(tower.eval()(images), clip.visual(images))


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("nanno", UsageError, "unknown model 'nanno' (did you mean nano?); use nano"),
        ("openclip:ViT-B-23/openai", UsageError, "did you mean ViT-B-32"),
        ("openclip:ViT-B-32/opnai", UsageError, "choose one of openai"),
        ("openclip:", UsageError, "unknown model"),
        ("dir:", UsageError, "unknown model"),
        ("dir:no/such", MissingError, "has no open_clip_config.json"),
        ("hf:nobody/nothing", MissingError, "use dir:PATH"),
        ("hf:not a name", MissingError, "cannot fetch"),
        ("openclip:ViT-B-32/openai", MissingError, "cannot load"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_with_the_remedy(
    uri: str, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(kind) as caught:
        load_clip(uri)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def damaged(folder: Path, how: str) -> None:
    config, weights = folder / "open_clip_config.json", folder / "open_clip_model.safetensors"
    if how == "no weights":
        weights.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "no json":
        config.write_text("{")
    elif how == "other sizes":
        content = json.loads(config.read_text())
        content["model_cfg"]["vision_cfg"]["width"] = 48
        config.write_text(json.dumps(content))
    elif how == "no embed_dim":
        content = json.loads(config.read_text())
        del content["model_cfg"]["embed_dim"]
        config.write_text(json.dumps(content))


@pytest.mark.parametrize("how", ["no weights", "cut weights", "no json", "other sizes", "no embed_dim"])
def test_a_damaged_directory_is_refused(clip_dir: Path, tmp_path: Path, how: str) -> None:
    folder = shutil.copytree(clip_dir, tmp_path / "clip")
    damaged(folder, how)
    with pytest.raises(MissingError) as caught:
        load_clip(f"dir:{folder}")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"resize_mode": "longest"}, {"interpolation": "random"}])
def test_a_preprocessing_that_we_do_not_have_is_refused(
    clip_dir: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = shutil.copytree(clip_dir, tmp_path / "clip")
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["preprocess_cfg"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="preprocess"):
        load_clip(f"dir:{folder}")


def test_loading_is_silent(clip_dir: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    load_clip(f"dir:{clip_dir}")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert not caplog.records
