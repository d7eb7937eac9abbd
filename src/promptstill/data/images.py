"""Any unlabeled image source as one ordered, fixed set of RGB images: folders, tar and parquet shards, the hub."""

import bisect
import importlib
import itertools
import os
import re
import stat
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from PIL import Image

from promptstill.data.decode import BYTES_LIMIT, brief, decode, image_error, too_long
from promptstill.data.find import SUFFIXES, find, hidden, kind, natural, readable, unique
from promptstill.errors import DataError, MissingError, UsageError

HUB = re.compile(r"hf:(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<rev>[^:]+))?(:(?P<split>.+))?")


class Images(Protocol):
    """A fixed, ordered set of images with stable ids; where they come from is nobody's business."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Unique, stable, naturally sorted: relative posix paths, ``shard.tar#member``, ``shard.parquet#row``."""
        ...

    def __len__(self) -> int: ...

    def data(self, index: int) -> bytes:
        """Encoded bytes of one image. Raises ``DataError`` if they cannot be had."""
        ...

    def read(self, index: int) -> Image.Image:
        """One image, decoded to RGB. Raises ``DataError`` if it cannot be."""
        ...


@dataclass(frozen=True)
class _Source(ABC):
    """What all sources share. No open file is kept, so a source may be pickled, forked and used from threads."""

    source: str  # what ``open_images`` takes to open it again; empty if it cannot
    ids: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def data(self, index: int) -> bytes: ...

    def read(self, index: int) -> Image.Image:
        return decode(self.data(index), self.ids[index])


@dataclass(frozen=True)
class _Files(_Source):
    places: tuple[tuple[str, int, int | None], ...] = field(repr=False)  # (file, first byte, length or to the end)

    def data(self, index: int) -> bytes:
        name, (place, start, length) = self.ids[index], self.places[index]
        path = Path(place)
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for ever
                raise image_error(name, "not a regular file")
            size = about.st_size if length is None else length
            if size > BYTES_LIMIT:
                raise image_error(name, too_long(size))
            with path.open("rb") as handle:
                handle.seek(start)
                return handle.read(size)
        except FileNotFoundError:
            raise image_error(name, "a link to nothing" if path.is_symlink() else "no longer there") from None
        except OSError as error:
            raise image_error(name, f"cannot be read ({brief(error)})") from None


@dataclass(frozen=True)
class _Parquet(_Source):
    groups: tuple[tuple[str, int], ...]  # (file, row group)
    starts: tuple[int, ...]  # first row of each group, counted over all files
    column: str
    cache: dict[int, Any] = field(default_factory=dict[int, Any], repr=False, compare=False)  # one row group at a time

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": {}}

    def data(self, index: int) -> bytes:
        index = range(len(self))[index]
        group = bisect.bisect_right(self.starts, index) - 1
        rows = self.cache.get(group)
        if rows is None:
            rows = self._rows(group, self.ids[index])
            self.cache.clear()
            self.cache[group] = rows
        cell = rows[index - self.starts[group]].as_py()
        return _cell_bytes(cell, self.ids[index])

    def _rows(self, group: int, name: str) -> Any:
        parquet = _package("pyarrow.parquet", self.source)
        path, number = self.groups[group]
        try:
            with parquet.ParquetFile(path) as shard:  # only the bytes: the paths beside them are never followed
                return shard.read_row_group(number, columns=[self.column], use_threads=False).column(0)
        except (ValueError, OSError, RuntimeError) as error:  # the bases of Arrow's errors
            raise image_error(name, f"its row group cannot be read ({brief(error)})") from None


@dataclass(frozen=True)
class _Hub(_Source):
    rows: Any = field(repr=False)  # a datasets.Dataset
    column: str

    def data(self, index: int) -> bytes:
        cell = self.rows[index][self.column]
        if cell and cell["bytes"] is None and cell["path"]:  # a file that `datasets` unpacked
            return _Files("", (self.ids[index],), ((cell["path"], 0, None),)).data(0)
        return _cell_bytes(cell, self.ids[index])


@dataclass(frozen=True)
class _Subset(_Source):
    images: Images
    keep: tuple[int, ...] = field(repr=False)

    def data(self, index: int) -> bytes:
        return self.images.data(self.keep[index])


def _cell_bytes(cell: Any, name: str) -> bytes:
    data = cell if cell is None or isinstance(cell, bytes) else cell["bytes"]
    if data is None:
        raise image_error(name, "the row holds no image bytes")
    if len(data) > BYTES_LIMIT:
        raise image_error(name, too_long(len(data)))
    return data


def subset(images: Images, keep: Sequence[int]) -> Images:
    """The images at these indices, in this order, under the same ids. Each index once, in ``0 .. len(images) - 1``."""
    keep = tuple(keep)
    if len(set(keep)) != len(keep) or any(not 0 <= index < len(images) for index in keep):
        raise UsageError(f"a subset of {len(images)} images needs different indices in 0..{len(images) - 1}")
    return _Subset(getattr(images, "source", ""), tuple(images.ids[index] for index in keep), images, keep)


def open_images(source: str | Path, *, limit: int | None = None) -> Images:
    """List an unlabeled image source; nothing is decoded yet.

    Args:
        source: A folder (flat or nested) of images or of shards, one file, a pattern such as ``shards/*.tar``, or
            ``hf:ORG/NAME[@REVISION][:SPLIT]`` (split ``train`` if none is named), which needs ``datasets``.
            Parquet shards hold encoded images in a column ``image``: bytes, or a struct with a field ``bytes``.
        limit: Keep so many images, evenly spaced over the natural order of their ids.

    Raises:
        DataError: The source is missing, unreadable, damaged, ambiguous, or without images.
        UsageError: The source is empty text or a wrong hub name, or ``limit`` is below 1.
        MissingError: The package that reads this kind of source is not installed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; it must be at least 1")
    text = os.fspath(source)
    if not text.strip():
        raise UsageError("the image source is empty; give a folder, *.tar, *.parquet or hf:ORG/NAME")
    images = _open_hub(text) if text.startswith("hf:") else _open_local(Path(text).expanduser().absolute())
    return limited(images, limit)


def limited(images: Images, limit: int | None) -> Images:
    """At most ``limit`` images, evenly spaced."""
    if limit is None or limit >= len(images):
        return images
    return subset(images, [i * len(images) // limit for i in range(limit)])


def from_source(images: Images, source: str) -> Images:
    """The same images, with what opens them again."""
    return _Subset(source, images.ids, images, tuple(range(len(images))))


def listed_images(root: Path, names: Sequence[str]) -> Images:
    """Images by their paths below ``root``, which are their ids, as a data set's list file has them."""
    names = tuple(names)
    return _Files("", names, tuple((str(root / name), 0, None) for name in names))


def _package(name: str, source: str) -> Any:
    """A package that only some sources need, imported only for them."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise MissingError(f"{source} needs the package {package}; install it with: pip install {package}") from None


def _open_local(source: Path) -> Images:
    root, paths = find(source)
    names = unique([readable(path.relative_to(root).as_posix()) for path in paths])
    kinds: dict[str, dict[str, str]] = {"image": {}, "tar": {}, "parquet": {}}
    for name, path in sorted(zip(names, paths, strict=True), key=lambda pair: natural(pair[0])):
        kinds[kind(path)][name] = str(path)
        if kind(path) != "image" and not path.is_file():
            raise DataError(f"{path} is a link to nothing or not a regular file; mend or remove it")
    found = [kind for kind, files in kinds.items() if files]
    if not found:
        looked = f"{', '.join(SUFFIXES)}, .tar and .parquet (any case, also in subfolders)"
        raise DataError(f"{source} holds no images; looked for {looked}, so give a place that has some")
    if len(found) > 1:
        counts = ", ".join(f"{len(kinds[kind])} {kind}" for kind in found)
        raise DataError(f"{source} holds files of different kinds ({counts}); choose by a pattern such as *.parquet")
    images = OPENERS[found[0]](str(source), kinds[found[0]])
    if not len(images):
        raise DataError(f"{source} holds no images; there are none in its {found[0]} files, so give others")
    return images


def _open_files(source: str, files: dict[str, str]) -> Images:
    return _Files(source, tuple(files), tuple((path, 0, None) for path in files.values()))


def _open_tar(source: str, files: dict[str, str]) -> Images:
    members = [(f"{shard}#{name}", (path, *place)) for shard, path in files.items() for name, place in _members(path)]
    places = zip(unique([name for name, _ in members]), (place for _, place in members), strict=True)
    ordered = dict(sorted(places, key=lambda pair: natural(pair[0])))
    return _Files(source, tuple(ordered), tuple(ordered.values()))


def _members(path: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """(harmless name, (first byte, length)) of each image in an uncompressed tar; names are never paths on disk."""
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                parts = [part for part in member.name.split("/") if part not in ("", ".", "..")]
                wanted = member.isreg() and not member.issparse() and not any(map(hidden, parts))
                if wanted and parts and kind(PurePosixPath(parts[-1])) == "image":
                    yield readable("/".join(parts)), (member.offset_data, member.size)
            with Path(path).open("rb") as handle:  # `tarfile` takes a damaged header for the end
                handle.seek(archive.offset)
                if any(handle.read(tarfile.BLOCKSIZE)):
                    raise tarfile.ReadError(f"bad header at byte {archive.offset}")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path} is not a whole, uncompressed tar ({brief(error)}); make or copy it again") from None


def _open_parquet(source: str, files: dict[str, str]) -> Images:
    parquet = _package("pyarrow.parquet", source)
    ids: list[str] = []
    groups: list[tuple[str, int]] = []
    starts: list[int] = []
    columns: set[str] = set()
    for name, path in files.items():
        try:
            with parquet.ParquetFile(path) as shard:
                columns.add(_image_column(shard.schema_arrow, path))
                sizes = [shard.metadata.row_group(group).num_rows for group in range(shard.num_row_groups)]
        except (ValueError, OSError, RuntimeError) as error:  # the bases of Arrow's errors
            raise DataError(f"{path} is not a readable parquet file ({brief(error)}); make or copy it again") from None
        starts += list(itertools.accumulate(sizes, initial=len(ids)))[:-1]
        groups += [(path, group) for group in range(len(sizes))]
        ids += [f"{name}#{row}" for row in range(sum(sizes))]
    if len(columns) > 1:
        raise DataError(f"{source} has shards whose image columns differ; open shards of one kind only")
    return _Parquet(source, tuple(ids), tuple(groups), tuple(starts), columns.pop())


def _image_column(schema: Any, path: str) -> str:
    """``image`` or ``image.bytes``, as parquet names what is to be read."""
    types = _package("pyarrow.types", path)
    if "image" not in schema.names:
        raise DataError(f"{path} has no column 'image', only {', '.join(schema.names) or 'none'}; rename the right one")
    kind = schema.field("image").type
    inner = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (types.is_binary(inner) or types.is_large_binary(inner)):
        raise DataError(f"{path} has a column 'image' of {kind}; it must be encoded bytes or struct<bytes, path>")
    return "image" if inner is kind else "image.bytes"


OPENERS = {"image": _open_files, "tar": _open_tar, "parquet": _open_parquet}


def _open_hub(source: str) -> Images:
    uri = HUB.fullmatch(source)
    if uri is None:
        raise UsageError(f"{source} is no data set name; write hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME:SPLIT")
    datasets = _package("datasets", source)
    split = uri["split"] or "train"
    try:
        rows = datasets.load_dataset(uri["name"], revision=uri["rev"], split=split)
    except Exception as error:  # the loader, the network and the file system each have their own
        raise DataError(f"{source} cannot be loaded ({brief(error)}); check name, split and network") from error
    pictures = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    if not pictures or not len(rows):
        has = f"{len(rows)} rows with the columns {', '.join(rows.column_names)}"
        raise DataError(f"{source} holds no images, but {has}; choose another data set or split")
    column = "image" if "image" in pictures else pictures[0]
    rows = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return _Hub(source, tuple(f"{uri['name']}:{split}#{row}" for row in range(len(rows))), rows, column)
