"""The settings of the papers' protocols: which data, which cast, how often. Read by ``pipelines.protocols``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from promptstill.config import Settings
from promptstill.settings import (
    PRESETS,
    Distill,
    Diversify,
    Evaluate,
    FromNames,
    Precision,
    Strategy,
    Synthesize,
    Tune,
    Vectors,
)


def read_list(value: object) -> object:
    """``a,b`` -> ``("a", "b")``; sequences as they are."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, Sequence) else value


Sources = Annotated[tuple[str, ...], BeforeValidator(read_list), Field(min_length=1)]
Seeds = Annotated[tuple[int, ...], BeforeValidator(read_list), Field(min_length=1)]


class Protocol(Settings):
    """What all protocols of PromptKD share."""

    data: Sources = Field(description="data sets by URI, a,b,c: pictograms | caltech101:DATA | dir:PATH | ...")
    out: Path = Field(description="folder of the protocol; continued if it holds this one, refused if another")
    teacher: str = Field(
        default="nano", description="the model whose prompts are tuned: nano | openclip:MODEL/TAG | ..."
    )
    student: str = Field(default="prompted:nano-student", description="as in from-images")
    student_weights: Path | None = Field(default=None, description="a local checkpoint file for the student's backbone")
    seeds: Seeds = Field(default=(1, 2, 3), description="a,b,c: each draws shots, teacher and student anew")
    shots: int = Field(default=16, ge=0, description="labelled images a class for the teacher; 0: the teacher as it is")
    one_teacher: bool = Field(default=False, description="tune it with the first seed only, for all (as published)")
    store: Path | None = Field(
        default=None, description="folder of teacher stores that runs share; each its own if not"
    )
    device: str = Field(default="auto", description="auto | cpu | cuda | mps")
    precision: Precision = Field(default="32-true", description="of what is trained")
    tune: Tune = Tune()
    distill: Distill = Distill()
    evaluate: Evaluate = Evaluate()


class BaseToNovel(Protocol):
    """The teacher is tuned on few shots of the base classes; base and novel classes are tested (PromptKD, table 1)."""


class Transfer(Protocol):
    """The teacher is tuned on one data set; students learn on, and are tested on, others (PromptKD, tables 2 and 9)."""

    source: str = Field(description="the labelled data set for the teacher, such as imagenet:DATA")


class DataFree(Settings):
    """Class names alone -> students, tested on whole domains (DFKD-VLFM, tables 1 to 4)."""

    data: Sources = Field(description="data sets by URI, a,b,c: pictograms | pacs:DATA | vlcs:DATA | ...")
    out: Path = Field(description="folder of the protocol; continued if it holds this one, refused if another")
    teacher: str = Field(default="nano", description="as in from-names")
    student: str = Field(default="nano-student", description="as in from-names")
    student_weights: Path | None = Field(default=None, description="a local checkpoint file for the student's backbone")
    generator: str = Field(default="nano-vqgan", description="as in from-names")
    strategies: Annotated[tuple[Strategy, ...], BeforeValidator(read_list), Field(min_length=1)] = Field(
        default=("baseline", "mix", "random", "contrastive"), description="a,b,c: how prompts are written"
    )
    seeds: Seeds = Field(default=(1, 2, 3, 4, 5), description="a,b,c: of students; the first also makes the images")
    device: str = Field(default="auto", description="auto | cpu | cuda | mps")
    precision: Precision = Field(default="32-true", description="of the student's training")
    diversify: Diversify = Diversify()
    synthesize: Synthesize = Synthesize()
    vectors: Vectors = Vectors(templates=("A {}",))
    distill: Distill = FromNames.model_fields["distill"].default


class FewShot(Settings):
    """A distilled student, fine-tuned on few labels, beside the same one undistilled (DFKD-VLFM, figure 5)."""

    student: Path = Field(description="the run folder that made it")
    data: str = Field(description="labelled images by URI: pictograms | pacs:DATA | dir:PATH | ...")
    out: Path = Field(description="folder of the evaluation; continued if it holds this one, refused if another")
    shots: Seeds = Field(default=(1, 2, 4, 8, 16), description="a,b,c: labelled images a class")
    seeds: Seeds = Field(default=(1, 2, 3, 4, 5), description="a,b,c: each draws other shots")
    steps: int = Field(default=100, ge=1, description="steps of fine-tuning, for any number of shots")
    device: str = Field(default="auto", description="auto | cpu | cuda | mps")
    precision: Precision = Field(default="32-true", description="of the training")
    distill: Distill = Distill(batch_size=32)
    evaluate: Evaluate = Evaluate()


def _presets() -> dict[str, dict[str, Any]]:
    """The presets of teach and from-images that go by one name, together."""
    names = [name for name in PRESETS["from-images"] if name in PRESETS["teach"]]
    parts = {name: {**PRESETS["teach"][name], **PRESETS["from-images"][name]} for name in names}
    return {name: {key: part[key] for key in ("tune", "distill") if key in part} for name, part in parts.items()}


PRESETS["protocol"] = _presets()
PRESETS["few-shot"] = {"fast": {}}
PRESETS["data-free"] = PRESETS["from-names"]
