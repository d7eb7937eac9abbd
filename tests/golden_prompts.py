"""The tiny reference teacher and student of tests/golden, with the prompts of the official files in our form."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from golden_models import golden
from promptstill.models.student import make_projector

STUDENT, TEACHER = "promptkd_student.safetensors", "promptsrc_teacher.safetensors"
FIRST = {"visual": "image_encoder.VPT", "text": "prompt_learner.ctx"}
DEEP = {"visual": "image_encoder", "text": "text_encoder"}
CLASSES = ("golden_retriever", "tabby cat", "bicycle", "hot air balloon", "river")


def tokens(tensors: Mapping[str, Tensor], which: str, prefix: str, depth: int = 3) -> Tensor:
    """The prompts of one tower, (depth, length, width), from tensors named as in an official state."""
    deep = [f"{DEEP[which]}.transformer.resblocks.{i}.VPT_shallow" for i in range(1, depth)]
    return torch.stack([tensors[prefix + name] for name in (FIRST[which], *deep)])


def reference_prompts(prefix: str, file: str = TEACHER, depth: int = 3) -> dict[str, Tensor]:
    """Both towers' prompts out of a golden file."""
    return {which: tokens(golden(file), which, prefix, depth) for which in FIRST}


def projector_state(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The official 1x1 convolutions as the state of our projector."""
    start = f"{prefix}VPT_image_trans.conv1."
    found = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    return {name: value.flatten(1) if value.dim() == 4 else value for name, value in found.items()}


def reference_projector() -> nn.Sequential:
    """The projector of the student before it learns."""
    projector = make_projector(32, 48)
    projector.load_state_dict(projector_state(golden(STUDENT), "student."))
    return projector
