"""The tiny reference teacher and student of tests/golden, with the prompts of the official files in our form."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import open_clip
import torch
from safetensors import safe_open
from torch import Tensor, nn

from golden_models import FOLDER, SmallTokenizer, golden
from promptstill.models.clip import Clip
from promptstill.models.student import make_projector

STUDENT, TEACHER = "promptkd_student.safetensors", "promptsrc_teacher.safetensors"
FIRST = {"visual": "image_encoder.VPT", "text": "prompt_learner.ctx"}
DEEP = {"visual": "image_encoder", "text": "text_encoder"}
CLASSES = ("golden_retriever", "tabby cat", "bicycle", "hot air balloon", "river")


@cache
def tokenizer(weights: str) -> SmallTokenizer:
    """The tokenizer of a file's small vocabulary; made once, it takes a second."""
    return SmallTokenizer(golden(weights)["vocab_ids"])


def reference_clip(who: str) -> Clip:
    """The CLIP of ``student`` or ``teacher``: 24 px, 32 wide, 16 dimensions a head, QuickGELU, a small vocabulary."""
    weights = f"weights_clip_{who}.safetensors"
    with safe_open(FOLDER / weights, "pt") as file:
        size = json.loads(file.metadata()["config"])
    tensors = dict(golden(weights))
    vocabulary = tensors.pop("vocab_ids")
    vision = {"image_size": size["image"], "patch_size": size["patch"], "width": size["vw"], "layers": size["vl"]}
    text = {"vocab_size": len(vocabulary), "width": size["tw"], "layers": size["tl"], "heads": size["tw"] // 16}
    config: dict[str, Any] = {
        "embed_dim": size["embed"],
        "vision_cfg": vision | {"head_width": size["head"]},
        "text_cfg": text | {"context_length": 77},
    }
    model = open_clip.CLIP(**config, quick_gelu=True)
    model.load_state_dict(tensors)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    open_clip.set_model_preprocess_cfg(model, {"size": size["image"], "mean": mean, "std": std})
    return Clip(f"golden {who}", model, tokenizer(weights), config | {"quick_gelu": True})


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
