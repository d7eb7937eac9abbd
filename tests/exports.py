"""Students to export, and damaged exports."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from promptstill.artifacts import read_json, sha256, write_json
from promptstill.models.bundle import Bundle, load_bundle, save_bundle
from promptstill.models.clip import Clip
from promptstill.models.student import make_student
from small_runs import vectors_of

CLASSES = ("dog", "cat", "house", "car", "bird", "fish", "tree", "umbrella", "camera", "bus")


def untrained(clip: Clip, uri: str, folder: Path, names: tuple[str, ...] = CLASSES) -> Bundle:
    """The bundle of a student before any distillation; its statistics are not those of the start."""
    student = make_student(uri, clip, None, None, 0)
    student.train()
    side = student.architecture.preprocess.size
    student(torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0)))
    folder.mkdir(parents=True)
    save_bundle(student.eval(), vectors_of(clip, names), {}, folder)
    return load_bundle(folder)


def rehashed(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Change ``about.json`` and make its hashes right again, as one who wants the gate alone to find the damage."""
    about = read_json(folder / "about.json")
    change(about)
    about["sha256"] = {name: sha256(folder / name) for name in about["sha256"]}
    write_json(folder / "about.json", about)


def copied(folder: Path, to: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(folder, to))
