"""The shape of the nano models, and the open_clip folders they are shipped in."""

import json
from pathlib import Path

import open_clip
import torch
from augment import MEAN, STD
from safetensors.torch import load_file, save_file
from torch import Tensor

DIM, BIG, SMALL = 128, 96, 64
TEXT = {"context_length": 32, "vocab_size": 49408, "width": 112, "heads": 7, "layers": 4}
TEACHER = {"timm_model_name": "tf_efficientnet_lite0", "timm_model_pretrained": False, "timm_pool": "avg",
           "timm_proj": "linear", "image_size": BIG}  # fmt: skip
STUDENT = {"layers": 6, "width": 128, "head_width": 32, "patch_size": 16, "image_size": SMALL}
FOLDERS = {"teacher": ("nano", TEACHER, BIG), "student": ("nano-student", STUDENT, SMALL)}


def make_clip(vision: dict) -> open_clip.CLIP:
    """An untrained model in the shape of the exported one."""
    return open_clip.CLIP(embed_dim=DIM, vision_cfg=vision, text_cfg=TEXT)


def export(work: Path) -> None:
    """Write both folders under ``work/assets`` from the last checkpoints and the text tower."""
    for who, (folder, vision, size) in FOLDERS.items():
        state = torch.load(work / "towers" / f"{who}.pt", weights_only=True)["learner"]
        model = make_clip(vision)
        model.visual.load_state_dict(state["average"])
        load_text(model, load_file(work / "text.safetensors"))
        model.logit_scale.data.copy_(state["scales"][0].clamp(max=4.6052))
        write_folder(model, work / "assets" / folder, vision, size)


def load_text(model: open_clip.CLIP, weights: dict[str, Tensor]) -> None:
    """Put the text tower's tensors in place; every tensor of the text side must be there and nothing else."""
    own = {k for k in model.state_dict() if not k.startswith("visual.") and k != "logit_scale"}
    weights = {k: v for k, v in weights.items() if k != "logit_scale"}
    if set(weights) != own:
        raise ValueError(f"the text tower's tensors do not fit: {sorted(set(weights) ^ own)[:5]}")
    model.load_state_dict(weights, strict=False)


def write_folder(model: open_clip.CLIP, folder: Path, vision: dict, size: int) -> None:
    """An open_clip local directory: configuration and half-precision weights."""
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "shortest",
                  "size": [size, size]}  # fmt: skip
    config = {"model_cfg": {"embed_dim": DIM, "vision_cfg": vision, "text_cfg": TEXT}, "preprocess_cfg": preprocess}
    tensors = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(tensors, folder / "part.safetensors")
    (folder / "part.safetensors").chmod(0o644)
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "part.safetensors").rename(folder / "open_clip_model.safetensors")
