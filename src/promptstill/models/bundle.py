"""The student bundle: the folder that is shipped. Weights, configuration, class vectors and labels, nothing else.

``{model.safetensors, config.json, vectors.safetensors, vectors.json, README.md}``: what a model hub takes as it is.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from promptstill.artifacts import ClassVectors, read_json, sha256, write_atomic, write_json
from promptstill.errors import DataError, UsageError
from promptstill.models.hub import PREFIX, fetch
from promptstill.models.student import Architecture, Student, rebuild
from promptstill.ops.losses import cosine_logits
from promptstill.ops.preprocess import Preprocess
from promptstill.ops.targets import TARGETS

FORMAT = 1
VOUCHED = ("model.safetensors", "vectors.safetensors", "vectors.json")  # files whose hashes the configuration has


@dataclass(frozen=True)
class Bundle:
    """A finished student with its classes."""

    student: Student
    vectors: ClassVectors
    config: dict[str, Any]

    def module(self) -> "Scores":
        """A plain ``nn.Module``: images (B, 3, S, S) in [0, 1] -> logits (B, K)."""
        rows = self.reading
        return Scores(self.student, torch.from_numpy(rows.vectors), rows.scale).eval()

    def of(self, vectors: ClassVectors) -> "Bundle":
        """The same student for the classes of other vectors of its teacher, without any training.

        Raises:
            UsageError: the student has a head for its own classes. DataError: the vectors are another teacher's.
        """
        if self.student.architecture.head:
            raise UsageError("the student has one output for each class it learned; distil it again for new classes")
        if vectors.teacher_hash != self.vectors.teacher_hash:
            raise DataError(f"class vectors of {vectors.teacher}, which is not the student's own teacher; make others")
        return Bundle(self.student, vectors, self.config | {"labels": vectors.names})

    @property
    def reading(self) -> ClassVectors:
        """What the student's outputs are multiplied with to be logits: the class vectors; with a head, unit rows."""
        kind = self.student.architecture.head
        if kind is None:
            return self.vectors
        rows, scale = TARGETS[kind].reading(len(self.vectors.names)).numpy(), self.vectors.scale
        return replace(self.vectors, vectors=rows, scale=1.0 if kind == "logit" else scale)


class Scores(nn.Module):
    """A student with class vectors built in."""

    vectors: Tensor

    def __init__(self, student: Student, vectors: Tensor, scale: float) -> None:
        super().__init__()
        self.student, self.scale = student, scale
        self.register_buffer("vectors", vectors)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> logits over the classes."""
        return cosine_logits(self.student(images), self.vectors, self.scale)


def save_bundle(student: Student, vectors: ClassVectors, training: dict[str, Any], folder: Path) -> None:
    """Write the bundle's files, weights first and the configuration that vouches for them last."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    write_atomic(folder / "model.safetensors", save(state))
    vectors.save(folder)
    architecture = asdict(student.architecture) | {"preprocess": student.architecture.preprocess.dump()}
    content = {
        "format": FORMAT,
        "architecture": architecture,
        "labels": vectors.names,
        "training": training,
        "sha256": {name: sha256(folder / name) for name in VOUCHED},
    }
    write_json(folder / "config.json", content | {"config_sha256": _digest(content)})


def _digest(content: dict[str, Any]) -> str:
    """sha256 of a configuration as it reads back from JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def find_bundle(folder: Path) -> Path:
    """The bundle's own folder: of a run its ``4-student``, of ``hf:ORG/NAME@REV`` where the hub's files are kept."""
    if str(folder).startswith(PREFIX):
        return fetch(str(folder))
    return folder / "4-student" if (folder / "4-student" / "config.json").is_file() else folder


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check its hashes. ``folder`` may also be a run, or ``hf:ORG/NAME@REV``.

    Raises:
        DataError: the folder is no bundle, or a file of it is missing or was altered.
        MissingError: the hub does not have it, or cannot be reached.
    """
    folder = find_bundle(folder)
    if not (folder / "config.json").is_file():
        if (folder / "config.yaml").is_file():
            raise DataError(f"the run in {folder} has no student yet; start its command again, it continues")
        raise DataError(f"{folder} is no student: it has no config.json; give RUN or RUN/4-student")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or "architecture" not in config:
        raise DataError(f"{folder} is no student: its config.json is of another kind; give RUN or RUN/4-student")
    if config.get("format") != FORMAT:
        raise DataError(f"{folder} is no student of this version (format {config.get('format')!r}, wanted {FORMAT})")
    for name, digest in config["sha256"].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise DataError(f"{folder / name} is missing or was altered; copy the bundle again")
    stated = config.pop("config_sha256", None)
    if stated and stated != _digest(config):
        raise DataError(f"{folder / 'config.json'} was altered; copy the bundle again")
    content = dict(config["architecture"])
    content["preprocess"] = Preprocess.load(content["preprocess"])
    if content.get("prompts"):
        content["prompts"] = tuple(content["prompts"])
    student = rebuild(Architecture(**content))
    student.load_state_dict(load_file(folder / "model.safetensors"))
    return Bundle(student.eval(), ClassVectors.load(folder), config)
