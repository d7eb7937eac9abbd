"""What can be named, and what this machine can do: ``promptstill list`` and ``promptstill doctor``."""

import os
from pathlib import Path

import open_clip
import torch

from promptstill.artifacts import free_bytes
from promptstill.data.benchmarks import load_benchmark
from promptstill.data.labelled import SETS
from promptstill.errors import PromptstillError
from promptstill.models.clip import load_clip
from promptstill.models.generator import load_vqgan
from promptstill.settings import PRESETS
from promptstill.stages.report import versions


def catalogue() -> dict[str, dict[str, str]]:
    """URIs by kind, each with a gloss."""
    tags = len(open_clip.list_pretrained())
    return {
        "teachers": {
            "nano": "embedded, 64-96 px pictograms",
            "openclip:MODEL/TAG": f"{tags} published weights, e.g. openclip:ViT-L-14/openai",
            "dir:PATH": "an open_clip local directory",
            "hf:ORG/REPO[@REV]": "an open_clip repository on the hub",
            "prompted:FOLDER": "one with learned prompts, as teach and import-official make it",
            "A+B": "several of these as one, their logits averaged",
        },
        "students": {
            "nano-student": "embedded vision transformer",
            "prompted:CLIP": "any CLIP's image tower, frozen, with prompt tokens that learn (PromptKD)",
            "timm:ARCH": "any timm model, random weights (or --student-weights FILE)",
            "timm:ARCH.TAG": "with the hub's weights, e.g. timm:resnet18.a1_in1k",
        },
        "generators": {
            "nano-vqgan": "embedded, 64 px",
            "dir:PATH": "a diffusers VQModel directory",
            "taming:FILE.ckpt": "a published taming-transformers checkpoint, its yaml beside it",
            "pixels": "no generator: the picture itself is optimised, the strictest data-free claim",
            "diffusers:PATH or ORG/REPO": "a text-to-image pipeline, such as SD-Turbo (extra: diffusion)",
        },
        "benchmarks": {
            "pictograms": "embedded icons by style",
            "dir:PATH": "a folder CLASS/* or DOMAIN/CLASS/*, or these below train/ and test/",
            "SET:PATH": ", ".join(name for name in SETS if name != "dir"),
        },
        "presets": {name: ", ".join(rows) for name, rows in PRESETS.items()},
    }


def examine() -> dict[str, tuple[bool, str]]:
    """Findings by name: whether it is well, and what was found."""
    threads, cuda = torch.get_num_threads(), torch.cuda.is_available()
    findings = {
        "versions": (True, ", ".join(f"{name} {number}" for name, number in versions().items())),
        "device": (True, torch.cuda.get_device_name() if cuda else f"cpu with {threads} threads"),
        "disk": (free_bytes(Path.cwd()) > 1e9, f"{free_bytes(Path.cwd()) / 1e9:.1f} GB free here"),
        "hub": (True, "offline by HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "allowed"),
    }
    for uri, load in {"nano": load_clip, "nano-student": load_clip, "nano-vqgan": load_vqgan}.items():
        findings[uri] = _loads(lambda load=load, uri=uri: f"{load(uri).hash[:12]}")
    findings["pictograms"] = _loads(lambda: f"{len(load_benchmark('pictograms').classes)} classes")
    return findings


def _loads(look: object) -> tuple[bool, str]:
    assert callable(look)
    try:
        return True, str(look())
    except (PromptstillError, OSError) as error:
        return False, str(error)
