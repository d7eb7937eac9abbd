"""Image generators. Two kinds: a latent in, an image out, to be guided; and texts in, images out.

URIs: ``nano-vqgan`` (embedded), ``dir:PATH`` of a diffusers ``VQModel``, ``taming:PATH.ckpt``, a published
taming-transformers checkpoint with its yaml beside it, which is converted once; ``pixels``, no generator at all; and
``diffusers:PATH`` or ``diffusers:ORG/REPO``, a text-to-image pipeline.
"""

from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Generator as Stream
from torch import Tensor

from promptstill.artifacts import read_json
from promptstill.errors import MissingError, UsageError
from promptstill.models.pixels import Pixels
from promptstill.models.taming import import_taming
from promptstill.models.text_to_image import TextToImage, load_text_to_image
from promptstill.ops.guidance import live_codes, project, straight_through
from promptstill.ops.hashing import state_hash


class Latents(Protocol):
    """What a guided generator can do. The first axis of a latent is the image, the others are its own."""

    @property
    def uri(self) -> str:
        """What it was loaded by."""
        ...

    @property
    def factor(self) -> int:
        """The side of an image is a multiple of it."""
        ...

    @property
    def hash(self) -> str:
        """sha256 of its weights; empty if it has none."""
        ...

    @property
    def trained_on(self) -> str:
        """Which images it saw, for the report's strictness line."""
        ...

    @property
    def image_size(self) -> int | None:
        """The side it was trained at, if there is one."""
        ...

    def to(self, device: torch.device | str, /) -> "Latents":
        """Move the weights."""
        ...

    def draw(self, size: int, stream: Stream) -> Tensor:
        """One random latent for an image of ``size`` pixels."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Latents -> images (B, 3, H, W), about [0, 1]; differentiable."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> latents that decode to about the same."""
        ...

    def project(self, z: Tensor) -> Tensor:
        """The nearest allowed latent."""
        ...


class VQGAN:
    """A frozen decoder over a codebook. Latents are channel-last: (B, h, w, C) in codebook space."""

    def __init__(self, uri: str, model: Any, about: dict[str, Any]) -> None:
        self.uri, self.about = uri, about
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.codebook: Tensor = live_codes(model.quantize.embedding.weight.detach())
        self.factor = 2 ** (len(model.config.block_out_channels) - 1)

    @property
    def trained_on(self) -> str:
        """Which images the generator saw, for the report's strictness line."""
        return str(self.about.get("trained_on", "not stated by its makers"))

    @property
    def image_size(self) -> int | None:
        """The side it was trained at, if its makers say so."""
        return self.about.get("image_size")

    @property
    def hash(self) -> str:
        """sha256 over names and values of all weights."""
        return self._hash

    @cached_property
    def _hash(self) -> str:  # checkers do not take a cached property for a property of a protocol
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
        with torch.autocast(z.device.type, enabled=False):  # close codes are told apart in fp32 only
            codes = straight_through(z, self.codebook).permute(0, 3, 1, 2)
        codes = codes.contiguous(memory_format=torch.channels_last)
        return (self.model.decode(codes, force_not_quantize=True).sample.float() + 1) / 2

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> latents (B, h, w, C), not yet codes.

        Raises:
            UsageError: this model's encoder does not lead into its codebook's space.
        """
        if not self.about.get("encodes", True):
            raise UsageError(
                f"the encoder of {self.uri} scores codes, so only random ones can be its start: "
                "set synthesize.start=codes, coarse=0 and warm_steps=0"
            )
        return self.model.encode(2 * images - 1).latents.permute(0, 2, 3, 1)

    def project(self, z: Tensor) -> Tensor:
        """Clamp a latent to the codebook's range."""
        return project(z, self.codebook)


def load_generator(uri: str) -> Latents | TextToImage:
    """Load a generator by URI, frozen.

    Raises:
        UsageError: the URI names nothing known. MissingError: the weights, or a package, are not here.
    """
    if uri == "pixels":
        return Pixels()
    if uri.startswith("diffusers:") and uri != "diffusers:":
        return load_text_to_image(uri)
    return load_vqgan(uri)


def load_vqgan(uri: str) -> VQGAN:
    """Load a VQGAN by URI, in fp32, frozen; errors as for :func:`load_generator`."""
    folder = _folder(uri)
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
    return VQGAN(uri, model, read_json(about) if about.is_file() else {})


def _folder(uri: str) -> Path:
    """Where the diffusers directory of a URI is; a published checkpoint is converted beside itself."""
    kind, _, rest = uri.partition(":")
    if uri == "nano-vqgan":
        return Path(str(files("promptstill.assets") / uri))
    if kind == "dir" and rest:
        return Path(rest)
    if kind == "taming" and rest:
        path = Path(rest)
        seen = "ImageNet, by the name of its file" if "imagenet" in path.stem.lower() else None
        return import_taming(path, path.with_suffix(".yaml"), path.with_name(f"{path.stem}-diffusers"), seen)
    known = "nano-vqgan, dir:PATH of a diffusers VQModel, taming:FILE.ckpt, pixels or diffusers:PATH"
    raise UsageError(f"unknown generator {uri!r}; use {known}")
