"""Class names as users give them: a list, a,b,c, or a text file with one a line."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from promptstill.errors import DataError, UsageError


def read_names(value: object) -> object:
    """Class names from a sequence, a comma-separated text, or a text file with one name a line.

    Raises:
        DataError: a name is empty or stands twice, or the file cannot be read.
    """
    if isinstance(value, str | Path):
        text = str(value)
        path = Path(text).expanduser()
        if "," not in text and path.suffix.lower() == ".txt":
            value = _lines(path)
            value = [line for line in value if not line.lstrip().startswith("#")]
            while value and not value[-1].strip():
                value.pop()  # a trailing blank line is no class
        else:
            if "," not in text and path.is_file():
                raise UsageError(f"class file {text} is called by no .txt; rename it, or give a,b,c")
            value = text.split(",")
    if isinstance(value, Set):
        raise UsageError(f"class names are in no order in {value!r}; give a list, a,b,c or a .txt file")
    if not isinstance(value, Sequence):
        return value
    names = [str(name).strip() for name in value]
    empty = [str(i + 1) for i, name in enumerate(names) if not name]
    if empty or not names:
        raise DataError(f"class name {', '.join(empty) or '1'} is empty; remove it or name the class")
    seen: dict[str, str] = {}
    for name in names:
        key = name.casefold().replace("_", " ")
        if key in seen:
            raise DataError(f"class name {name!r} stands twice (as {seen[key]!r}); every class needs its own name")
        seen[key] = name
    return tuple(names)


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"class file {path} does not exist; give a text file with one name a line, or a,b,c")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError):
        raise DataError(f"class file {path} cannot be read as text; save it as UTF-8, one name a line") from None


def as_names(classes: Sequence[str] | str | Path) -> tuple[str, ...]:
    """:func:`read_names` for what a caller gives."""
    names = read_names(classes)
    if not isinstance(names, tuple):
        raise UsageError(f"{classes!r} is no list of class names; give a list, a,b,c or a .txt file")
    return names


def check_several(names: tuple[str, ...]) -> tuple[str, ...]:
    """At least two classes: among one there is nothing to tell."""
    if len(names) < 2:
        raise UsageError(
            f"{', '.join(names)!r} alone is nothing to tell apart; give two classes or more, a,b,c or a .txt file"
        )
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(read_names)]
