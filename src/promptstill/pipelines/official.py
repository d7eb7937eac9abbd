"""Files of the public PromptSRC and PromptKD code: in as a prompted teacher or a student, and out in their layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptstill.artifacts import sha256, write_atomic
from promptstill.errors import DataError, UsageError
from promptstill.models.bundle import Bundle, load_bundle, save_bundle
from promptstill.models.clip import Clip, load_clip
from promptstill.models.official import Official, check_base, read_official, write_student, write_teacher
from promptstill.models.prompts import PromptedClip, PromptedVisual
from promptstill.models.student import Architecture, Student
from promptstill.models.teachers import load_teacher, read_about, save_teacher
from promptstill.ops.templates import fill_all
from promptstill.settings import Vectors
from promptstill.stages.teach import class_vectors

TEXT = "a photo of a {}."  # the one text of all official files


@dataclass(frozen=True)
class Imported:
    """What a file became: ``kind`` is teacher or student, ``use`` says how to use it."""

    kind: str
    official: Official
    use: str


def import_official(
    file: Path, out: Path, base: str, teacher: str | None = None, classes: tuple[str, ...] = ()
) -> Imported:
    """Make a prompted teacher, or a student bundle, of an official file.

    ``base`` is the CLIP that it was learned on. A student file holds no class vectors: ``teacher`` (a prompted one)
    makes them for ``classes``.

    Raises:
        MissingError: the file is not there. DataError: it is damaged, hostile, incomplete, or was learned on another
            base. UsageError: a student came without teacher and classes, or ``out`` holds something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something else; choose another --out")
    official, clip = read_official(file), _base(base)
    check_base(official, clip.model, clip.uri)
    facts: dict[str, Any] = {"source": file.name, "source_sha256": sha256(file), "epoch": official.epoch}
    facts |= {"source_score": official.score}  # in these files an accuracy that may have chosen the epoch
    if not official.projector:
        PromptedClip(clip, official.prompts)  # refuses prompts that do not fit
        out.mkdir(parents=True, exist_ok=True)
        save_teacher(out, clip, official.prompts, TEXT, facts)
        return Imported("teacher", official, f"--teacher prompted:{out}")
    if not teacher or not classes:
        raise UsageError(f"{file} is a student and holds no class vectors; give --teacher and --classes to make them")
    vectors = class_vectors(load_teacher(teacher), classes, Vectors())
    student = _student(official, clip, vectors.vectors.shape[1])
    out.mkdir(parents=True, exist_ok=True)
    save_bundle(student, vectors, facts, out)
    lines = ["# Student classifier", "", f"Classes: {', '.join(classes)}.", "", f"From the official file {file.name}."]
    write_atomic(out / "README.md", "\n".join(lines) + "\n")
    return Imported("student", official, f"promptstill predict {out} PICTURE...")


def export_official(source: Path, file: Path, epoch: int = 20) -> str:
    """Write a prompted teacher or a prompted student to ``file`` as the public code would; returns which it was.

    Raises:
        DataError: ``source`` is neither. UsageError: it is one that the official layout has no place for.
    """
    if file.exists():
        raise UsageError(f"{file} exists; choose another file")
    file.parent.mkdir(parents=True, exist_ok=True)
    if (source / "config.json").is_file() or (source / "4-student").is_dir():
        _export_student(load_bundle(source), file, epoch)
        return "student"
    _, about = read_about(source)
    if about["template"] not in (TEXT, ""):
        raise UsageError(f"the prompts were learned in {about['template']!r}; official files know only {TEXT!r}")
    teacher = load_teacher(f"prompted:{source}")
    assert isinstance(teacher, PromptedClip)
    names = about.get("classes") or ["object"]
    ids = teacher.tokenizer(fill_all([TEXT], names))
    write_teacher(file, teacher.model, dict(teacher.prompts.items()), ids, epoch)
    return "teacher"


def _base(uri: str) -> Clip:
    base = load_teacher(uri)
    if type(base) is not Clip:
        raise UsageError(f"{uri} is prompted or joined already; give the one CLIP that the file was learned on")
    return base


def _student(official: Official, clip: Clip, dim: int) -> Student:
    outputs, inputs = official.projector["0.weight"].shape
    if (inputs, outputs) != (clip.dim, dim):
        here = f"{clip.uri} gives {clip.dim} and the teacher wants {dim}"
        raise DataError(
            f"the file's projector leads from {inputs} to {outputs} dimensions, but {here}; use its own models"
        )
    tokens = official.prompts["visual"]
    facts = (clip.config, clip.dim, dim, clip.preprocess, "an official file")
    shape = (tokens.shape[0], tokens.shape[1])
    student = Student(
        Architecture(f"prompted:{clip.uri}", "prompted", *facts, prompts=shape), PromptedVisual(clip.visual, tokens)
    )
    student.projector.load_state_dict(official.projector)
    return student


def _export_student(bundle: Bundle, file: Path, epoch: int) -> None:
    student, architecture = bundle.student, bundle.student.architecture
    if student.tokens is None:
        raise UsageError(f"the student {architecture.uri} has no prompts; official files hold students with prompts")
    if architecture.shares_space:
        remedy = "distil it with distill.share=false"
        raise UsageError(f"the student's projector is added to its features, as in no official file; {remedy}")
    base = load_clip(architecture.uri.removeprefix("prompted:"))
    write_student(file, base.model, student.tokens, student.projector, epoch)
