"""Tiny random models in the real formats: an open_clip directory, a diffusers directory, folders of pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
CONVOLUTIONAL = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}


def make_clip(folder: Path, seed: int = 0, vision: dict[str, Any] | None = None) -> Path:
    """An open_clip local directory with random weights; ``vision`` is another image tower."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = CLIP_CONFIG | ({"vision_cfg": vision} if vision else {})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**chosen)  # pyright: ignore[reportArgumentType]
    preprocess = {
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "size": [32, 32],
    }
    config = {"model_cfg": chosen, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def make_vqgan(folder: Path, seed: int = 0) -> Path:
    """A diffusers VQModel directory with random weights: 32 px, f4, 32 codes."""
    from diffusers.models.autoencoders.vq_model import VQModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VQModel(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            num_vq_embeddings=32,
            norm_num_groups=4,
            vq_embed_dim=4,
        )
        model.quantize.embedding.weight.data.normal_()
    model.save_pretrained(folder)
    return folder


def make_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """A folder of random PNG pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        blocks = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((40, 36), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")
    return folder


def make_benchmark(
    folder: Path, classes: tuple[str, ...], domains: tuple[str, ...] = ("ink", "paint"), each: int = 3
) -> Path:
    """A folder DOMAIN/CLASS/*.png of random pictures."""
    for d, domain in enumerate(domains):
        for c, name in enumerate(classes):
            make_pictures(folder / domain / name, each, seed=100 * d + c)
    return folder
