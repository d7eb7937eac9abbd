"""Image generators for guided synthesis: a latent in, an image out.

URIs: ``nano-vqgan`` (embedded), ``dir:PATH`` of a diffusers ``VQModel``, and ``taming:PATH.ckpt``, a published
taming-transformers checkpoint with its yaml beside it, which is converted once.
"""

import json
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Generator as Stream
from torch import Tensor

from promptstill.errors import MissingError, UsageError
from promptstill.models.taming import import_taming
from promptstill.ops.guidance import project, straight_through
from promptstill.ops.hashing import state_hash


class VQGAN:
    """A frozen decoder over a codebook. Latents are channel-last: (B, h, w, C) in codebook space."""

    def __init__(self, uri: str, model: Any, about: dict[str, Any]) -> None:
        self.uri, self.about = uri, about
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.codebook: Tensor = model.quantize.embedding.weight.detach()
        self.factor = 2 ** (len(model.config.block_out_channels) - 1)

    @property
    def trained_on(self) -> str:
        """Which images the generator saw, for the report's strictness line."""
        return str(self.about.get("trained_on", "not stated by its makers"))

    @property
    def image_size(self) -> int | None:
        """The side it was trained at, if its makers say so."""
        return self.about.get("image_size")

    @cached_property
    def hash(self) -> str:
        """sha256 over names and values of all weights."""
        return state_hash(self.model)

    def to(self, device: torch.device | str) -> "VQGAN":
        """Move the weights."""
        self.model.to(device)
        self.codebook = self.codebook.to(device)
        return self

    def draw(self, size: int, stream: Stream) -> Tensor:
        """One random latent (h, w, C) for an image of ``size`` pixels: every cell a random codebook row."""
        side = max(1, size // self.factor)
        index = torch.randint(len(self.codebook), (side, side), generator=stream)
        return self.codebook[index.to(self.codebook.device)]

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B, h, w, C) -> images (B, 3, H, W), about [0, 1], unclamped; gradients pass straight through."""
        codes = straight_through(z, self.codebook).permute(0, 3, 1, 2)
        return (self.model.decode(codes, force_not_quantize=True).sample + 1) / 2

    def project(self, z: Tensor) -> Tensor:
        """Clamp a latent to the codebook's range."""
        return project(z, self.codebook)


def load_generator(uri: str) -> VQGAN:
    """Load a generator by URI, in fp32, frozen.

    Raises:
        UsageError: the URI names nothing known. MissingError: the directory has no weights.
    """
    kind, _, rest = uri.partition(":")
    if uri == "nano-vqgan":
        folder = Path(str(files("promptstill.assets") / uri))
    elif kind == "dir" and rest:
        folder = Path(rest)
    elif kind == "taming" and rest:
        path = Path(rest)
        folder = import_taming(path, path.with_suffix(".yaml"), path.with_name(f"{path.stem}-diffusers"))
    else:
        raise UsageError(
            f"unknown generator {uri!r}; use nano-vqgan, dir:PATH of a diffusers VQModel or taming:FILE.ckpt"
        )
    if not (folder / "config.json").is_file() or not (folder / "diffusion_pytorch_model.safetensors").is_file():
        wanted = "config.json and diffusion_pytorch_model.safetensors"
        raise MissingError(f"{uri!r} is no diffusers VQModel directory: {folder} lacks {wanted}")
    from diffusers.models.autoencoders.vq_model import VQModel

    try:
        model = VQModel.from_pretrained(folder, low_cpu_mem_usage=False, local_files_only=True).float()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise MissingError(f"cannot load {uri!r}: {reason}; give a VQModel saved by diffusers") from None
    about = folder / "about.json"
    return VQGAN(uri, model, json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {})
