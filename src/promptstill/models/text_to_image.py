"""Text-to-image pipelines of diffusers as generators: they are told the prompt's text; the teacher only judges."""

import logging
import warnings
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Generator as Stream
from torch import Tensor, nn

from promptstill.artifacts import read_json
from promptstill.errors import MissingError, UsageError
from promptstill.ops.hashing import state_hash

EXTRA = "pip install 'promptstill[diffusion]'"


class TextToImage:
    """A frozen pipeline: texts in, images out. Each image has its own random stream."""

    def __init__(self, uri: str, pipeline: Any, about: dict[str, Any]) -> None:
        self.uri, self.pipeline, self.about = uri, pipeline, about
        self.pipeline.set_progress_bar_config(disable=True)

    @property
    def trained_on(self) -> str:
        """Which images the pipeline saw, for the report's strictness line."""
        return str(self.about.get("trained_on", "captioned pictures of its makers' choice (see its model card)"))

    @property
    def image_size(self) -> int | None:
        """The side to ask for, if the folder's ``about.json`` says so; else the pipeline's own."""
        return self.about.get("image_size")

    @cached_property
    def hash(self) -> str:
        """sha256 over names and values of all weights."""
        parts = self.pipeline.components
        return state_hash(nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)}))

    def to(self, device: torch.device | str) -> "TextToImage":
        """Move the weights."""
        self.pipeline.to(device)
        return self

    @torch.no_grad()
    def paint(
        self, texts: Sequence[str], streams: Sequence[Stream], size: int | None, steps: int, guidance: float
    ) -> Tensor:
        """Texts -> images (B, 3, H, W) in [0, 1]; an image's noise comes from its own stream."""
        side = {"height": size, "width": size} if size else {}
        asked = {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "pt", **side}
        return self.pipeline(prompt=list(texts), generator=list(streams), **asked).images.float().cpu()


def load_text_to_image(uri: str) -> TextToImage:
    """Load ``diffusers:PATH`` or ``diffusers:ORG/REPO`` in fp32 (fp16 on a GPU).

    Raises:
        UsageError: it is no text-to-image pipeline. MissingError: an extra or the weights are not here.
    """
    source = uri.removeprefix("diffusers:")
    try:
        import_module("transformers")  # the text encoders of nearly every pipeline
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    except ImportError:
        raise MissingError(f"{uri} needs the package transformers; install it with: {EXTRA}") from None
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    kind = torch.float16 if torch.cuda.is_available() else torch.float32
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old fields of published configurations
            pipeline = DiffusionPipeline.from_pretrained(source, torch_dtype=kind, low_cpu_mem_usage=False)
    except Exception as error:  # the hub, the network and every component fail in their own ways
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
        raise MissingError(f"cannot load {uri!r}: {reason}; give a folder of diffusers' save_pretrained") from None
    if not callable(pipeline) or not hasattr(pipeline, "tokenizer"):
        raise UsageError(f"{uri!r} is a {type(pipeline).__name__}, which reads no text; give a text-to-image pipeline")
    about = Path(source) / "about.json"
    return TextToImage(uri, pipeline, read_json(about) if about.is_file() else {})
