"""A finished student to a model hub."""

from pathlib import Path

from promptstill.models import hub
from promptstill.models.bundle import find_bundle, load_bundle


def push_student(student: str | Path, repo: str, *, private: bool = False) -> str:
    """Upload a student's bundle to ``ORG/NAME`` after checking its hashes; returns its pinned ``hf:ORG/NAME@REV``.

    Raises:
        DataError: it is no student, or was altered. UsageError, MissingError: see :func:`promptstill.models.hub.push`.
    """
    return hub.push(checked(student), repo, private=private)


def plan_push(student: str | Path, repo: str) -> dict[str, int]:
    """The files that would be uploaded to ``repo``, and the bytes of each; errors as of :func:`push_student`."""
    hub.check_name(repo)
    return hub.listed(checked(student))


def checked(student: str | Path) -> Path:
    """The folder of a student whose files are what they should be."""
    folder = find_bundle(Path(student))
    load_bundle(folder)
    return folder
