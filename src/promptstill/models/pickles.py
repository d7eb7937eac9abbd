"""``torch.save`` files of strangers, read against closed lists of names. Nothing that a file names is ever run.

``torch.load(weights_only=True)`` refuses any file that holds more than tensors and plain data, as Dassl's do: their
scheduler drags a live optimizer along. Here names of tensors lead to code of this module, and names that the caller
ignores to objects that take everything and keep nothing. Any other name ends the reading; or, where files are known to
hold all kinds of classes (Lightning's callbacks), it is ignored too.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from promptstill.errors import DataError, MissingError

STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}
PLAIN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": defaultdict,
    "builtins.dict": dict,
}
TENSORS = {f"torch.{name}" for name in STORAGES} | {
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
}


def read_pickle(path: Path, ignore: Collection[str] | None = ()) -> dict[str, Any]:
    """The dictionary in a ``torch.save`` file; objects of the classes in ``ignore`` come out as empty shells.

    With ``ignore`` None, objects of any class do.

    Raises:
        MissingError: there is no such file. DataError: it is no such file, is damaged, or names anything else.
    """
    if not path.is_file():
        raise MissingError(f"checkpoint {path} does not exist; give the file that its makers published")
    try:
        with zipfile.ZipFile(path) as archive:
            content = _Reader(archive, ignore).load()
    except zipfile.BadZipFile:
        remedy = "load it where you trust it, and save it again"
        raise DataError(f"{path} is no checkpoint of torch 1.6 or later; {remedy}") from None
    except _Refused as refused:
        raise DataError(f"{path} names {refused}, which no checkpoint of this kind needs; it was not read") from None
    except Exception as error:  # a damaged pickle fails in every way there is
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(f"{path} is damaged ({reason}); get it again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, not a dictionary; give another checkpoint")
    return cast("dict[str, Any]", content)


class _Refused(Exception):
    """A name that is on no list."""


class _Shell:
    """Stands for an object that is not needed: takes everything, keeps nothing."""

    def __new__(cls, *_args: Any, **_named: Any) -> "_Shell":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_named: Any) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _Reader(pickle.Unpickler):
    """The pickle inside a zip archive of torch, with its tensors taken from the archive's other members.

    What a name leads to is a bound method or a fresh class, so that not even an attribute set by the file outlives it.
    """

    def __init__(self, archive: zipfile.ZipFile, ignore: Collection[str] | None) -> None:
        packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"its member {packed[0]} is compressed, which torch never does")
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        self._archive, self._folder, self._ignore = archive, pickled.removesuffix("data.pkl"), ignore
        self._storages: dict[str, Tensor] = {}
        order = f"{self._folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine")
        super().__init__(io.BytesIO(archive.read(pickled)))

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name in the pickle leads to; only names of the lists lead anywhere."""
        name = f"{module_name.replace('__builtin__', 'builtins')}.{global_name}"
        if name in PLAIN:
            return PLAIN[name]
        if name not in TENSORS:
            if self._ignore is not None and name not in self._ignore:
                raise _Refused(name)
            return type("Shell", (_Shell,), {})
        if name.startswith("torch._utils."):
            return self._parameter if global_name == "_rebuild_parameter" else self._tensor
        return STORAGES[global_name]

    def persistent_load(self, pid: Any, /) -> Tensor:
        """A storage as a flat tensor: ``("storage", its type, its member, device, number of elements)``."""
        _, dtype, key, _, count = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        if len(self._storages[key]) < count:
            raise ValueError(f"storage {key} holds {len(self._storages[key])} of {count} numbers")
        return self._storages[key]

    def _tensor(self, storage: Tensor, offset: int, size: Any, stride: Any, *_unused: Any) -> Tensor:
        if math.prod(size) > len(storage):
            raise ValueError(f"a tensor {tuple(size)} wants more than the {len(storage)} numbers of its storage")
        return storage.as_strided(size, stride, offset)

    def _parameter(self, data: Tensor, *_unused: Any) -> Tensor:
        return data
