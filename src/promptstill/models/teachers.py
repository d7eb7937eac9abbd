"""Teachers by URI: every CLIP of :mod:`promptstill.models.clip`; ``prompted:FOLDER``, one with learned prompts; and
``A+B``, several of them as one.

The folder of a prompted teacher holds tokens and facts, not weights: ``{prompts.safetensors, teacher.json}``, well
under a megabyte. It names its base model, whose weights are checked by their hash.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from promptstill.artifacts import read_json, sha256, write_json
from promptstill.errors import DataError, MissingError
from promptstill.models.clip import Clip, load_clip
from promptstill.models.ensembles import Ensemble
from promptstill.models.prompts import PromptedClip, load_prompts, save_prompts

FORMAT = 1
PROMPTED = "prompted:"
JOINED = re.compile(r"\+(?=nano|openclip:|dir:|hf:|prompted:)")  # a plus in a path is none
STAGE = "2-prompts"  # of the run that learned them


def load_teacher(uri: str) -> Clip:
    """A frozen teacher by URI.

    Raises:
        UsageError: the URI names nothing known. MissingError: the weights are not here. DataError: the folder of a
            prompted teacher is none, was altered, or belongs to other weights.
    """
    parts = JOINED.split(uri)
    if len(parts) > 1:
        return Ensemble([load_teacher(part) for part in parts])
    if uri.startswith(PROMPTED):
        return _load_prompted(uri)
    return load_clip(uri)


def save_teacher(folder: Path, base: Clip, prompts: Mapping[str, Tensor], template: str, facts: dict[str, Any]) -> None:
    """Write a prompted teacher: tokens that were learned on ``base`` in ``template``, and ``facts`` about it."""
    save_prompts(folder / "prompts.safetensors", prompts, base.hash)
    about = {
        "format": FORMAT,
        "base": base.uri,
        "base_hash": base.hash,
        "template": template,
        "prompts": {name: list(tokens.shape) for name, tokens in prompts.items()},
        "sha256": sha256(folder / "prompts.safetensors"),
    }
    write_json(folder / "teacher.json", facts | about)


def read_about(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where a prompted teacher stands (its run folder may be given), and its ``teacher.json``.

    Raises:
        DataError: it is no such folder, or its tokens were altered.
    """
    place = folder / STAGE if (folder / STAGE / "teacher.json").is_file() else folder
    if not (place / "teacher.json").is_file():
        raise DataError(f"{folder} is no prompted teacher: it has no teacher.json; give the folder that teach made")
    about = read_json(place / "teacher.json")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise DataError(f"{place}/teacher.json is of another kind or version; give the folder that teach made")
    path = place / "prompts.safetensors"
    if not path.is_file() or sha256(path) != about["sha256"]:
        raise DataError(f"{path} is missing or was altered; copy the folder again, or learn the prompts again")
    return place, about


def _load_prompted(uri: str) -> PromptedClip:
    folder = uri.removeprefix(PROMPTED)
    if not Path(folder).is_dir():
        raise MissingError(f"{uri!r} names no folder; give prompted:FOLDER with the folder that teach made")
    place, about = read_about(Path(folder))
    base = load_clip(about["base"])
    prompts = load_prompts(place / "prompts.safetensors", base.hash)
    teacher = PromptedClip(base, prompts, about["template"])
    teacher.uri = uri
    return teacher
