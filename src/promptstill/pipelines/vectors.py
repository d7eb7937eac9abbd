"""Class vectors alone, and a finished student for other class names: no image and no training."""

from collections.abc import Sequence
from pathlib import Path

from promptstill.artifacts import ClassVectors, write_atomic
from promptstill.config import resolve
from promptstill.errors import UsageError
from promptstill.models.bundle import Bundle, load_bundle, save_bundle
from promptstill.models.teachers import load_teacher
from promptstill.models.vectors import retarget
from promptstill.naming import as_names
from promptstill.settings import Vectors
from promptstill.stages.teach import class_vectors

Names = Sequence[str] | str | Path


def vectors(
    classes: Names,
    out: str | Path,
    teacher: str = "nano",
    set: Sequence[str] = (),  # noqa: A002
) -> ClassVectors:
    """Make the class vectors of ``classes`` and write them to ``out``; ``set`` holds ``templates=...``.

    Raises:
        UsageError: the folder holds something else, or a setting or URI cannot be used. DataError: a name cannot be.
    """
    folder, names, settings = Path(out), as_names(classes), resolve(Vectors, {}, overrides=set)
    _refuse_others(folder, "vectors.json")
    made = class_vectors(load_teacher(teacher), names, settings)
    _make(folder)
    made.save(folder)
    return made


def retarget_student(
    student: str | Path,
    classes: Names,
    out: str | Path,
    teacher: str | None = None,
    set: Sequence[str] = (),  # noqa: A002
) -> Bundle:
    """Write a finished student for other classes to ``out``; ``teacher`` is where its teacher is found now.

    Raises:
        DataError: ``student`` is none, or the teacher is not its own. UsageError: the folder holds something else.
    """
    folder, names = Path(out), as_names(classes)
    if set:
        raise UsageError(f"{', '.join(set)}: a student's new vectors are made in its own templates; leave --set out")
    _refuse_others(folder, "config.json")
    old = load_bundle(Path(student))
    new = retarget(old, names, teacher)
    _make(folder)
    save_bundle(new.student, new.vectors, old.config["training"] | {"first_classes": old.vectors.names}, folder)
    write_atomic(folder / "README.md", _card(old, new))
    return new


def _refuse_others(folder: Path, marker: str) -> None:
    """Only a new or empty folder, or one of the same kind, is written to."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file()):
        raise UsageError(f"{folder} holds something else; choose another --out")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error.strerror}); choose another --out") from None


def _card(old: Bundle, new: Bundle) -> str:
    lines = [
        "# Student classifier",
        "",
        f"Classes: {', '.join(new.vectors.names)}.",
        "",
        f"It was distilled for other classes ({', '.join(old.vectors.names)}).",
        f"{new.vectors.teacher} gave it new class vectors, without training. It was not measured on the new ones.",
    ]
    return "\n".join(lines) + "\n"
