"""The tiny reference models of tests/golden: the student CLIP in its small vocabulary, and the taming VQGAN."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from promptstill.models.clip import Clip

FOLDER = Path(__file__).resolve().parent / "golden"


@cache
def golden(name: str) -> dict[str, Tensor]:
    """The tensors of one file; those stored as float16 are exact and come as float32, ids as int64."""
    wide = {torch.float16: torch.float32, torch.int32: torch.int64}
    return {key: value.to(wide.get(value.dtype, value.dtype)) for key, value in load_file(FOLDER / name).items()}


def error(got: Tensor, want: Tensor) -> float:
    """The error measure of the golden numbers."""
    assert got.shape == want.shape, (got.shape, want.shape)
    return float((got.detach() - want).abs().max() / max(1.0, float(want.abs().max())))


class SmallTokenizer:
    """CLIP's own tokenizer, its ids counted within the vocabulary that the tiny models have."""

    def __init__(self, vocabulary: Tensor) -> None:
        self.vocabulary, self.inner, self.context_length = vocabulary, open_clip.SimpleTokenizer(), 77

    def __call__(self, texts: Any, context_length: int | None = None) -> Tensor:
        ids = self.inner(texts, context_length)
        compact = torch.searchsorted(self.vocabulary, ids)
        assert torch.equal(self.vocabulary[compact], ids), "a text needs words that the small vocabulary lacks"
        return compact


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
