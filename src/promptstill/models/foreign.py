"""Checkpoints that others have pickled: read as tensors and plain data, without running anything in them."""

import contextlib
import pickle
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from promptstill.errors import DataError, MissingError


class Inert:
    """Stands for any class that a checkpoint names and we do not need: takes everything, does nothing."""

    def __new__(cls, *_args: Any, **_named: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_named: Any) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


def _no_dict(*_args: Any) -> dict[Any, Any]:
    """What a dictionary of any make begins as; its items follow in the file."""
    return {}


def _no_list(*_args: Any) -> list[Any]:
    """The same for a list."""
    return []


CONTAINERS: dict[str, Any] = {"collections.defaultdict": _no_dict, "builtins.dict": _no_dict, "builtins.list": _no_list}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary in a ``torch.save`` file, by torch's restricted unpickler.

    Training frameworks leave their own classes in checkpoints (callbacks, schedulers). The restricted unpickler would
    refuse the file for them; here each becomes an :class:`Inert` object, so that no code that the file names is run.

    Raises:
        MissingError: there is no such file. DataError: it is no checkpoint of tensors and plain data.
    """
    if not path.is_file():
        raise MissingError(f"checkpoint {path} does not exist; give the file that its makers published")
    try:
        with _strangers_are_inert(path):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError, KeyError, AttributeError) as error:
        remedy = "get the file again, or save its state_dict alone with torch.save where you trust it"
        raise DataError(f"{path} cannot be read as tensors and plain data ({_reason(error)}); {remedy}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, not a dictionary of weights; give another file")
    return content


def _reason(error: Exception) -> str:
    """What was wrong, without torch's advice to read the file unrestrictedly."""
    text = str(error).strip() or type(error).__name__
    return text.partition("WeightsUnpickler error:")[2].strip().partition("\n")[0] or text.splitlines()[0].rstrip(".")


@contextlib.contextmanager
def _strangers_are_inert(path: Path) -> Generator[None]:
    """Inside the block, each class that the file names and torch does not know is replaced by one that does nothing."""
    strangers = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    stands_for: list[Any] = [
        (CONTAINERS.get(name.replace("__builtin__", "builtins"), Inert), name) for name in strangers
    ]
    with torch.serialization.safe_globals(stands_for):
        yield
