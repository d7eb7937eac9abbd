"""A text-to-image pipeline paints what it is told, each image from its own stream, and is judged like any other."""

import json
from pathlib import Path

import pytest
import torch

from promptstill.engine import Stopper, progress, stream
from promptstill.errors import MissingError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.generator import load_generator
from promptstill.models.painter import Finished, Teller, make_painter
from promptstill.models.text_to_image import TextToImage
from promptstill.settings import Diversify, Synthesize
from promptstill.stages.diversify import diversify
from promptstill.stages.synthesize import synthesize
from small_runs import CLASSES, vectors_of

pytest.importorskip("transformers", reason="text-to-image pipelines need the extra diffusion")


def make_pipeline(folder: Path) -> Path:
    """A Stable Diffusion pipeline with random weights: 16 px pictures, a vocabulary of letters."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    words = folder / "words"
    words.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    (words / "vocab.json").write_text(json.dumps({word: at for at, word in enumerate(vocabulary)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4),
            text_encoder=CLIPTextModel(text),
            tokenizer=CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77),
            unet=UNet2DConditionModel(
                sample_size=16,
                in_channels=4,
                out_channels=4,
                block_out_channels=(8, 8),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                layers_per_block=1,
                cross_attention_dim=16,
                attention_head_dim=4,
                norm_num_groups=4,
            ),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),  # pyright: ignore[reportArgumentType]
            safety_checker=None,  # pyright: ignore[reportArgumentType]
            feature_extractor=None,  # pyright: ignore[reportArgumentType]
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder / "pipeline")
    (folder / "pipeline" / "about.json").write_text(json.dumps({"trained_on": "nothing", "image_size": 16}))
    return folder / "pipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("text-to-image"))


@pytest.fixture(scope="module")
def generator(folder: Path) -> TextToImage:
    found = load_generator(f"diffusers:{folder}")
    assert isinstance(found, TextToImage)
    return found


def test_an_image_is_its_text_and_its_stream(generator: TextToImage) -> None:
    def paint(texts: list[str], streams: list[int]) -> torch.Tensor:
        return generator.paint(texts, [stream(0, "t", i) for i in streams], 16, 2, 2.0)

    both = paint(["a cat", "a dog"], [0, 1])
    assert both.shape == (2, 3, 16, 16)
    assert 0 <= float(both.min()) <= float(both.max()) <= 1
    torch.testing.assert_close(both[1:], paint(["a dog"], [1]), atol=1e-3, rtol=0)
    assert not torch.allclose(both[1:], paint(["a dog"], [2]), atol=1e-3)
    assert not torch.allclose(both[1:], paint(["a cat"], [1]), atol=1e-4)
    assert (generator.trained_on, generator.image_size, len(generator.hash)) == ("nothing", 16, 64)


def test_the_stage_keeps_told_images_like_guided_ones(generator: TextToImage, clip: Clip, tmp_path: Path) -> None:
    vectors, told = vectors_of(clip), Synthesize(gate=False, batch_size=2, shard_size=3, text_steps=1)
    painter = make_painter(clip, generator, vectors, told, 0)
    assert isinstance(painter, Teller)
    asked = diversify(clip, CLASSES, Diversify(strategy="mix", images_per_class=1), 0, Stopper()).prompts
    figures = synthesize(painter, asked, vectors, tmp_path, Stopper())
    assert (figures["images"], figures["mean_steps"]) == (3, 1)
    assert (tmp_path / "sheet.png").is_file()
    said = [str(detail["said"]) for detail in asked.details]
    assert all(" and " in words and "0." not in words for words in said), "words, not numbers"
    with progress("test", 3) as ticker:
        made = list(painter.paint(asked, range(3), Finished(), ticker, Stopper()))
    assert [each.row for each in made] == [0, 1, 2]


@pytest.mark.parametrize("source", ["no/such", "{folder}/vae"])
def test_what_is_no_pipeline_is_refused_in_one_line(folder: Path, source: str) -> None:
    with pytest.raises((MissingError, UsageError), match="diffusers:") as caught:
        load_generator("diffusers:" + source.replace("{folder}", str(folder)))
    assert "\n" not in str(caught.value)
