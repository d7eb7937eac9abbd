"""Any folder, tar or parquet of images becomes the same ordered set of RGB images, and bad files are named."""

import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from promptstill.data import images as module
from promptstill.data.decode import PIXEL_LIMIT, decode
from promptstill.data.find import unique as unique_names
from promptstill.data.images import open_images, subset
from promptstill.data.index import Rejected, check_images, fingerprint, load_index, save_index
from promptstill.errors import DataError, MissingError, UsageError

SRC = Path(__file__).resolve().parents[2] / "src"


def picture(seed: int = 0, size: tuple[int, int] = (12, 8)) -> Image.Image:
    """A small RGB image of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG whose header promises far more than its few bytes hold."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def tar_of(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """An uncompressed tar with these members, in this order; a name may come twice."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return path


def parquet_of(path: Path, cells: Sequence[bytes | None], *, plain: bool = False, rows: int = 2) -> Path:
    """A shard with a column ``image`` (bytes, or struct of bytes and path) in row groups of ``rows``."""
    column = cells if plain else [{"bytes": cell, "path": "../../nowhere.png"} for cell in cells]
    kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({"label": list(range(len(cells))), "image": pa.array(column, kind)}), path, row_group_size=rows
    )
    return path


def write(root: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pixels(image: Image.Image) -> list[list[list[int]]]:
    """Nested lists (height, width, 3), so that a failing comparison is readable."""
    return np.asarray(image).tolist()


GOOD: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: encoded(picture(1)),
    "b.JPG": lambda: encoded(picture(2), "JPEG"),
    "c.jpeg": lambda: encoded(picture(3).convert("CMYK"), "JPEG"),
    "d.jpg": lambda: encoded(picture(4)),  # a PNG by another name
    "e.webp": lambda: encoded(picture(5), "WEBP"),
    "f.bmp": lambda: encoded(picture(6), "BMP"),
    "g.gif": lambda: encoded(picture(7).convert("P"), "GIF"),
    "h.TIFF": lambda: encoded(picture(8), "TIFF"),
    "i.tif": lambda: encoded(Image.fromarray(np.full((3, 4), 40000, np.uint16)), "TIFF"),
    "j.png": lambda: encoded(picture(9).convert("1")),
    "k.png": lambda: encoded(picture(10).convert("LA")),
    "l.gif": lambda: encoded(picture(11).convert("P"), "GIF", save_all=True, append_images=[picture(12).convert("P")]),
    "m.tif": lambda: encoded(picture(13).convert("LAB"), "TIFF"),
    "n.jpg": lambda: encoded(picture(14), "JPEG", exif=b"Exif\0\0garbage that is no metadata"),
    "ünï 漢字/😀.png": lambda: encoded(picture(15)),
    "deep/er/still/o.png": lambda: encoded(picture(16)),
}
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "empty"),
    "text.jpg": (lambda: b"<html>404</html>", "not an image of a known format"),
    "cut.jpg": (lambda: encoded(picture(1, (64, 64)), "JPEG")[:900], "cut short"),
    "cut.png": (lambda: encoded(picture(1, (64, 64)))[:900], "cut short"),
    "cut.webp": (lambda: encoded(picture(1, (64, 64)), "WEBP", lossless=True)[:900], "not an image|cut short"),
    "cut.bmp": (lambda: encoded(picture(1, (64, 64)), "BMP")[:900], "cut short"),
    "cut.gif": (lambda: encoded(picture(1, (64, 64)).convert("P"), "GIF")[:900], "cut short"),
    "cut.tif": (lambda: encoded(picture(1, (64, 64)), "TIFF")[:900], "not an image|cut short"),
    "header.png": (lambda: encoded(picture(1))[:20], "not an image|cut short"),
    "postscript.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
    "large.png": (lambda: png_that_declares(8001, 8000), "64 megapixels"),  # Pillow says nothing
    "larger.png": (lambda: png_that_declares(10_000, 10_000), "64 megapixels"),  # Pillow warns
    "largest.png": (lambda: png_that_declares(60_000, 60_000), "64 megapixels"),  # Pillow raises
    "nan.tif": (lambda: encoded(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"), "finite"),
}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with every good and every bad file, a broken link, a pipe, and things nobody asked for."""
    root = write(tmp_path / "mixed", {name: make() for name, make in GOOD.items()})
    write(root, {name: make() for name, (make, _) in BAD.items()})
    write(root, {".hidden.png": b"x", ".cache/x.png": b"x", "__MACOSX/._a.png": b"x", "notes.txt": b"x", "png": b"x"})
    (root / "link.png").symlink_to(root / "gone.png")
    os.mkfifo(root / "pipe.png")
    return root


# ------------------------------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("name", GOOD)
def test_good_files_become_plain_rgb(name: str) -> None:
    image = decode(GOOD[name](), name)
    assert image.mode == "RGB"
    assert type(image) is Image.Image
    assert not image.info
    assert not image.getexif()


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_reason_and_remedy(name: str) -> None:
    make, reason = BAD[name]
    with pytest.raises(DataError, match=rf"^x/{name}: .*({reason}).*; replace or remove it$"):
        decode(make(), f"x/{name}")


def test_the_pixel_limit_is_read_from_the_header() -> None:
    width = 8000
    with pytest.raises(DataError, match="cut short"):  # within the limit, so it is decoded, and found empty
        decode(png_that_declares(width, PIXEL_LIMIT // width), "x")
    with pytest.raises(DataError, match="megapixels"):
        decode(png_that_declares(width, PIXEL_LIMIT // width + 1), "x")


def test_decoding_leaves_pillow_and_the_warnings_as_they_were() -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    files = [png_that_declares(10_000, 10_000), GOOD["a.png"](), GOOD["n.jpg"]()] * 20
    start = threading.Barrier(4)

    def outcome(data: bytes) -> str:
        try:
            return decode(data, "x").mode
        except DataError as error:
            return str(error)

    def many(order: int) -> list[str]:
        start.wait()
        return [outcome(data) for data in files[order:]]

    with ThreadPoolExecutor(4) as pool:
        outcomes = {each for batch in pool.map(many, range(4)) for each in batch}
    too_large = "x: it declares more than 64 megapixels; replace or remove it"
    assert outcomes == {"RGB", too_large}
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)


def test_encoded_bytes_are_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = encoded(picture(size=(64, 64)))
    monkeypatch.setattr(module, "BYTES_LIMIT", len(data) - 1)
    write(tmp_path, {"a.png": data})
    tar_of(tmp_path / "a.tar", [("a.png", data)])
    parquet_of(tmp_path / "a.parquet", [data])
    for source in ("*.png", "*.tar", "*.parquet"):
        with pytest.raises(DataError, match="MiB allowed"):
            open_images(tmp_path / source).data(0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_scale(kind: str) -> None:
    values = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    assert pixels(decode(encoded(Image.fromarray(values), kind), "x")) == [[[v] * 3 for v in (0, 0, 1, 128, 255)]]
    dark = Image.fromarray(values[:, :4])  # white is 65535 whatever the brightest pixel is
    assert pixels(decode(encoded(dark, kind), "x")) == [[[v] * 3 for v in (0, 0, 1, 128)]]


def test_wide_and_float_grey_are_scaled_not_clipped() -> None:
    def first_channel(values: np.ndarray) -> list[int]:
        return np.asarray(decode(encoded(Image.fromarray(values), "TIFF"), "x"))[0, :, 0].tolist()

    assert first_channel(np.array([[0, 32768, 65535]], np.int32)) == [0, 128, 255]
    assert first_channel(np.array([[-1000, 0, 1000]], np.int32)) == [0, 128, 255]
    assert first_channel(np.array([[0, 0.5, 1]], np.float32)) == [0, 128, 255]
    assert first_channel(np.array([[0.25, 0.5]], np.float32)) == [64, 128]
    assert first_channel(np.array([[7, 7]], np.float32)) == [0, 0]


def test_cmyk_keeps_its_colours() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    middle = pixels(decode(encoded(red, "JPEG", quality=95), "x"))[8][8]
    assert middle[0] > 240
    assert max(middle[1:]) < 15


def transparent_files() -> dict[str, bytes]:
    """One file for each way to be transparent on the left and black on the right."""
    rgba = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    rgba.putpixel((0, 0), (200, 0, 0, 0))
    grey = Image.fromarray(np.array([[9, 0]], np.uint8))
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.putdata([1, 0])
    return {
        "RGBA png": encoded(rgba),
        "RGBA webp": encoded(rgba, "WEBP", lossless=True),
        "RGBA tiff": encoded(rgba, "TIFF"),
        "LA": encoded(rgba.convert("LA")),
        "palette, one colour": encoded(palette, transparency=1),
        "palette, alpha each": encoded(palette, transparency=b"\xff\x00"),
        "palette gif": encoded(palette, "GIF", transparency=1),
        "grey with a key": encoded(grey, transparency=9),
        "RGB with a key": encoded(rgba.convert("RGB"), transparency=(200, 0, 0)),
        "16 bit with a key": encoded(Image.fromarray(np.array([[9, 0]], np.uint16)), transparency=9),
    }


@pytest.mark.parametrize("kind", transparent_files())
def test_transparency_becomes_white(kind: str) -> None:
    assert pixels(decode(transparent_files()[kind], kind)) == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    upright = picture(3, (3, 2))
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's number of the inverse turn
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(encoded(stored, kind, exif=exif, **options), "x")
    assert pixels(image) == pixels(upright)
    assert pixels(decode(encoded(image), "x")) == pixels(upright)


def test_animations_give_their_first_frame() -> None:
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(red, kind, save_all=True, append_images=[blue])
        r, _, b = pixels(decode(data, kind))[0][0]
        assert r > 240
        assert b < 15


@given(st.binary(max_size=64), st.integers(0, 300), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]))
def test_damage_is_a_data_error_or_an_image(noise: bytes, place: int, kind: str) -> None:
    data = bytearray(encoded(picture(1), kind))
    data[place : place + len(noise)] = noise
    try:
        outcome = decode(bytes(data), "x").mode
    except DataError as error:
        outcome = str(error)
    assert outcome == "RGB" or (outcome.startswith("x: ") and "\n" not in outcome)


# ------------------------------------------------------------------------------------------------------------- sources


def test_check_keeps_the_good_and_names_the_bad_twice_alike(mixed: Path) -> None:
    runs = [check_images(open_images(mixed)) for _ in range(2)]
    (kept, rejected), (again, rejected_again) = runs
    assert set(kept.ids) == set(GOOD)
    assert {bad.id for bad in rejected} == {*BAD, "link.png", "pipe.png"}
    assert (kept.ids, rejected) == (again.ids, rejected_again)
    assert fingerprint(kept) == fingerprint(again)
    reasons = {bad.id: bad.reason for bad in rejected}
    assert reasons["link.png"] == "a link to nothing"
    assert reasons["pipe.png"] == "not a regular file"
    assert not any(name in reason for name, reason in reasons.items())


def test_check_reports_progress_and_leaves_a_good_set_alone(tmp_path: Path) -> None:
    images = open_images(write(tmp_path, {f"{n}.png": encoded(picture(n)) for n in range(3)}))
    seen: list[int] = []
    checked, rejected = check_images(images, progress=lambda indices: (seen.append(i) or i for i in indices))
    assert seen == [0, 1, 2]
    assert checked is images
    assert rejected == ()


def test_nothing_left_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": b"", "b.png": b"no"})
    with pytest.raises(
        DataError, match=r"none of 2 images can be used, the first \(a.png\) because: the file is empty"
    ):
        check_images(open_images(tmp_path))


def test_ids_are_natural_and_do_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    names = ["img10.png", "img2.png", "img1.png", "b/02.png", "b/2.png", "b/1.png", "B/3.png", f"{'9' * 200}.png"]
    first = write(tmp_path / "1", {name: GOOD["a.png"]() for name in names})
    second = write(tmp_path / "2", {name: GOOD["a.png"]() for name in reversed(names)})
    ids = open_images(first).ids
    assert ids == (f"{'9' * 200}.png", "B/3.png", "b/1.png", "b/02.png", "b/2.png", "img1.png", "img2.png", "img10.png")
    assert open_images(second).ids == ids
    assert fingerprint(open_images(first)) == fingerprint(open_images(second))


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    files = {name: make() for name, make in GOOD.items()}
    folder = open_images(write(tmp_path / "f", files))
    ordered = [(name, files[name]) for name in folder.ids]
    tar_of(tmp_path / "a-1.tar", ordered[:5])
    tar_of(tmp_path / "a-2.tar", ordered[5:])
    (tmp_path / "shards").mkdir()
    parquet_of(tmp_path / "shards" / "x-00000-of-00002.parquet", [data for _, data in ordered[:7]])
    parquet_of(tmp_path / "shards" / "x-00001-of-00002.parquet", [data for _, data in ordered[7:]])
    plain = parquet_of(tmp_path / "plain.parquet", [data for _, data in ordered], plain=True, rows=3)
    want = [pixels(folder.read(index)) for index in range(len(folder))]
    for source in (tmp_path / "a-*.tar", tmp_path / "shards", tmp_path / "shards" / "*.parquet", plain):
        images = open_images(source)
        assert len(images) == len(set(images.ids)) == len(folder)
        assert [pixels(images.read(index)) for index in range(len(images))] == want
        assert pixels(images.read(-1)) == want[-1]
    assert open_images(tmp_path / "a-*.tar").ids[:1] == ("a-1.tar#a.png",)
    assert open_images(tmp_path / "shards").ids[7:8] == ("x-00001-of-00002.parquet#0",)


def test_a_file_or_a_pattern_of_images_is_a_source_too(tmp_path: Path) -> None:
    write(tmp_path, {"x/a.png": GOOD["a.png"](), "x/y/b.png": GOOD["a.png"](), "x/.c.png": b"", "x/z.parquet": b""})
    assert open_images(tmp_path / "x" / "a.png").ids == ("a.png",)
    assert open_images(str(tmp_path / "x" / "*.png")).ids == ("a.png",)
    assert open_images(tmp_path / "**" / "*.png").ids == ("x/a.png", "x/y/b.png")
    assert open_images(tmp_path / "x" / "y*").ids == ("y/b.png",)


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    assert open_images(write(tmp_path / "set[1]*", {"a.png": GOOD["a.png"]()})).ids == ("a.png",)


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path, {"real/a.png": GOOD["a.png"](), "set/b.png": GOOD["a.png"]()})
    (tmp_path / "set" / "more").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "set")
    assert open_images(tmp_path / "set").ids == ("b.png", "more/a.png")


def test_names_that_are_no_text_still_have_ids(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(GOOD["a.png"]())
    images = open_images(tmp_path)
    assert images.ids == ("caf\\xe9.png",)
    assert images.read(0).mode == "RGB"
    save_index(images, (), tmp_path / "index")
    assert load_index(tmp_path / "index")[0].ids == images.ids


def test_tar_members_are_images_with_harmless_unique_names(tmp_path: Path) -> None:
    one, two = encoded(picture(1)), encoded(picture(2))
    path = tar_of(
        tmp_path / "a.tar",
        [
            *(("../../etc/b.png", one), ("/abs.png", one), ("./x/a.png", one), ("x/a.png", two), ("x/a.png~2", one)),
            *(("x.txt", b""), (".h.png", b""), ("__MACOSX/a.png", b"")),
        ],
    )
    with tarfile.open(path, "a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
            about = tarfile.TarInfo("trap.png")
            about.type, about.linkname = kind, "/etc/passwd"
            archive.addfile(about)
    images = open_images(path)
    assert images.ids == ("a.tar#abs.png", "a.tar#etc/b.png", "a.tar#x/a.png", "a.tar#x/a.png~2")
    assert [images.data(index) == two for index in range(4)] == [False, False, False, True]


@given(st.lists(st.sampled_from(["a", "a~2", "a~3", "b", "b~2"]), max_size=12))
@example(["a", "a", "a~2"])
def test_unique_names_are_unique_and_keep_what_they_can(names: list[str]) -> None:
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    assert all(unique[names.index(name)] == name for name in names)  # the first of a name keeps it
    assert all(new == name or new.startswith(f"{name}~") for name, new in zip(names, unique, strict=True))


def test_a_null_or_a_path_alone_in_parquet_is_rejected(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "a.parquet", [GOOD["a.png"](), None, GOOD["f.bmp"]()])
    kept, rejected = check_images(open_images(path))
    assert kept.ids == ("a.parquet#0", "a.parquet#2")
    assert rejected == (Rejected("a.parquet#1", "the row holds no image bytes"),)


def test_parquet_holds_one_row_group_at_a_time(tmp_path: Path) -> None:
    images = open_images(parquet_of(tmp_path / "a.parquet", [encoded(picture(n)) for n in range(7)], rows=3))
    assert isinstance(images, module._Parquet)
    for index in (0, 6, 3, 5, 1):
        assert pixels(images.read(index)) == pixels(picture(index))
        assert list(images.cache) == [index // 3]
    assert len(next(iter(images.cache.values()))) == 3
    assert pickle.loads(pickle.dumps(images)).cache == {}


def test_sources_go_through_pickle_and_threads(tmp_path: Path) -> None:
    data = [encoded(picture(n)) for n in range(6)]
    write(tmp_path, {f"{n}.png": each for n, each in enumerate(data)})
    tar_of(tmp_path / "a.tar", [(f"{n}.png", each) for n, each in enumerate(data)])
    parquet_of(tmp_path / "a.parquet", data)
    for pattern in ("*.png", "*.tar", "*.parquet"):
        images = subset(open_images(tmp_path / pattern), range(6))
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(pickle.loads(pickle.dumps(images)).data, list(range(6)) * 5)) == data * 5


def test_limit_spreads_over_the_source(tmp_path: Path) -> None:
    write(tmp_path, {f"{n}.png": GOOD["a.png"]() for n in range(12)})
    assert open_images(tmp_path, limit=3).ids == ("0.png", "4.png", "8.png")
    assert len(open_images(tmp_path, limit=99)) == 12
    with pytest.raises(UsageError, match="limit is 0"):
        open_images(tmp_path, limit=0)


def test_a_subset_keeps_ids_and_order(tmp_path: Path) -> None:
    images = open_images(write(tmp_path, {f"{n}.png": encoded(picture(n)) for n in range(4)}))
    part = subset(subset(images, [3, 0, 2]), [0, 2])
    assert part.ids == ("3.png", "2.png")
    assert pixels(part.read(1)) == pixels(picture(2))
    for wrong in ([4], [-1], [1, 1]):
        with pytest.raises(UsageError, match=r"different indices in 0\.\.3"):
            subset(images, wrong)


def test_the_fingerprint_sees_bytes_names_and_order(tmp_path: Path) -> None:
    base = {"a.png": encoded(picture(1)), "b.png": encoded(picture(2))}
    variants = [base, {**base, "b.png": encoded(picture(3))}, {"a.png": base["a.png"], "c.png": base["b.png"]}]
    prints = [fingerprint(open_images(write(tmp_path / str(n), files))) for n, files in enumerate(variants)]
    prints.append(fingerprint(subset(open_images(tmp_path / "0"), [1, 0])))
    assert len(set(prints)) == 4


# -------------------------------------------------------------------------------------------------- sources that cannot


def break_column(root: Path) -> Path:
    """A shard without the column ``image``."""
    pq.write_table(pa.table({"img": [b"x"], "label": [1]}), root / "a.parquet")
    return root


def break_type(root: Path) -> Path:
    """A shard whose ``image`` is decoded numbers."""
    pq.write_table(pa.table({"image": [[1, 2]]}), root / "a.parquet")
    return root


def break_tar(root: Path) -> Path:
    """A tar with a damaged header in the middle."""
    path = tar_of(root / "a.tar", [("a.png", b"x" * 512), ("b.png", b"x" * 512)])
    data = bytearray(path.read_bytes())
    data[1024:1100] = b"?" * 76
    path.write_bytes(data)
    return path


WRONG: dict[str, tuple[Callable[[Path], Path | str], str]] = {
    "missing": (lambda root: root / "nowhere", r"nowhere does not exist"),
    "no match": (lambda root: root / "*.tar", r"matches no file"),
    "bad pattern": (lambda root: root / "a**b", r"matches no file|is no pattern"),
    "empty folder": (lambda root: root, r"holds no images; looked for \.avif, .*\.webp, \.tar and \.parquet"),
    "no images": (lambda root: write(root, {"a.txt": b"", "b/c.csv": b""}), r"holds no images; looked for"),
    "hidden only": (lambda root: write(root, {".a.png": b"x", "__MACOSX/b.png": b"x"}), r"holds no images"),
    "unknown file": (lambda root: write(root, {"a.tar.gz": b""}) / "a.tar.gz", r"is no image source; give a folder"),
    "two kinds": (lambda root: write(root, {"a.png": b"", "b.parquet": b""}), r"\(1 image, 1 parquet\)"),
    "no tar": (lambda root: write(root, {"a.tar": b"hello"}), r"a\.tar is not a whole, uncompressed tar"),
    "zipped tar": (lambda root: write(root, {"a.tar": b"\x1f\x8b\x08" + b"0" * 600}), r"not a whole, uncompressed"),
    "damaged tar": (break_tar, r"bad header at byte 1024"),
    "cut tar": (
        lambda root: (
            write(root, {"c.tar": tar_of(root / "a.tar", [("a.png", b"x" * 9999)]).read_bytes()[:4000]}) / "c.tar"
        ),
        r"unexpected end of data",
    ),
    "tar without images": (lambda root: tar_of(root / "a.tar", [("a.txt", b"")]), r"there are none in its tar files"),
    "no parquet": (lambda root: write(root, {"a.parquet": b"PAR1 no"}), r"a\.parquet is not a readable parquet"),
    "no rows": (lambda root: parquet_of(root / "a.parquet", []), r"there are none in its parquet files"),
    "no column": (break_column, r"no column 'image', only img, label"),
    "no bytes": (break_type, r"column 'image' of list<"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_source_that_cannot_be_used_says_why(case: str, tmp_path: Path) -> None:
    make, reason = WRONG[case]
    with pytest.raises(DataError, match=reason) as caught:
        open_images(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "hf:", "hf:a/b/c", "hf:org/name@", "hf:org/name:"])
def test_a_source_that_is_no_name_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        open_images(text)


def test_different_kinds_of_shards_do_not_mix(tmp_path: Path) -> None:
    parquet_of(tmp_path / "a.parquet", [b"x"])
    parquet_of(tmp_path / "b.parquet", [b"x"], plain=True)
    with pytest.raises(DataError, match="image columns differ"):
        open_images(tmp_path)


def test_a_shard_that_is_a_broken_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar").symlink_to(tmp_path / "gone.tar")
    with pytest.raises(DataError, match="a link to nothing"):
        open_images(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": GOOD["a.png"](), "b.png": GOOD["a.png"](), "shut/c.png": GOOD["a.png"]()})
    (tmp_path / "b.png").chmod(0)
    assert check_images(open_images(tmp_path))[1] == (Rejected("b.png", "cannot be read (Permission denied)"),)
    (tmp_path / "shut").chmod(0)
    with pytest.raises(DataError, match=r"shut cannot be read \(Permission denied\)"):
        open_images(tmp_path)
    (tmp_path / "shut").chmod(0o700)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match="pip install datasets"):
        open_images("hf:org/name")


# ---------------------------------------------------------------------------------------------------- the hub, imports


def fresh_python(code: str, folder: Path) -> str:
    """What a new interpreter prints, with warnings as errors for our own modules and an empty hub cache."""
    settings = {"PYTHONPATH": str(SRC), "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    answer = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **settings}, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_importing_is_light(tmp_path: Path) -> None:
    code = "import sys, promptstill.data.images\nprint(*{'torch', 'datasets', 'pyarrow'} & set(sys.modules))"
    assert fresh_python(code, tmp_path).split() == []


def test_data_sets_come_through_datasets(tmp_path: Path) -> None:
    """``datasets`` takes a local folder where it takes a name on the hub, so the same code runs without a network."""
    images = [encoded(picture(n)) for n in range(3)]
    (tmp_path / "org" / "name").mkdir(parents=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"info": {"features": {"img": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}}}
    column = pa.array([{"bytes": data, "path": None} for data in images], kind)
    table = pa.table({"img": column, "label": [0, 1, 2]}).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "org" / "name" / "train-00000-of-00001.parquet")
    code = """
import hashlib, promptstill.data.images as m
from promptstill.errors import DataError
images = m.open_images("hf:org/name", limit=2)
print(*images.ids, *(hashlib.sha256(images.data(i)).hexdigest() for i in range(2)), images.read(1).size)
for wrong in ("hf:org/name:test", "hf:org/nowhere"):
    try: m.open_images(wrong)
    except DataError as error: print("|", error)
"""
    found, *errors = fresh_python(code, tmp_path).split("|")
    assert found.split()[:2] == ["org/name:train#0", "org/name:train#1"]
    assert found.split()[2] == hashlib.sha256(images[0]).hexdigest()
    assert "(12, 8)" in found
    assert all("cannot be loaded" in error and "check name, split and network" in error for error in errors)
    assert len(errors) == 2


# ----------------------------------------------------------------------------------------------------------- the index


def test_the_index_gives_back_the_very_same_set(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mixed.parent)
    kept, rejected = check_images(open_images("mixed"))
    kept = subset(kept, [*range(5, len(kept)), *range(5)])  # an order of its own
    save_index(kept, rejected, tmp_path / "run" / "3-images")
    write(mixed, {"new.png": GOOD["a.png"]()})
    monkeypatch.chdir(tmp_path / "run")  # the source does not depend on where we stand
    again, rejected_again = load_index(tmp_path / "run" / "3-images")
    assert again.ids == kept.ids
    assert rejected_again == rejected
    assert fingerprint(again) == fingerprint(kept)


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_the_index_finds_what_changed(kind: str, tmp_path: Path) -> None:
    def make(seeds: list[int]) -> Path:
        data = [encoded(picture(seed)) for seed in seeds]
        if kind == "tar":
            return tar_of(tmp_path / "a.tar", [(f"{n}.png", each) for n, each in enumerate(data)])
        if kind == "parquet":
            return parquet_of(tmp_path / "a.parquet", list(data))
        for old in (tmp_path / "f").glob("*"):
            old.unlink()
        return write(tmp_path / "f", {f"{n}.png": each for n, each in enumerate(data)})

    images = open_images(make([0, 1, 2]))
    save_index(images, (), tmp_path / "index")
    make([0, 7, 2])
    with pytest.raises(DataError, match=rf"^{images.ids[1]} in .* has changed since this run began; put it back"):
        load_index(tmp_path / "index")
    make([0, 1])
    with pytest.raises(DataError, match=rf"^{images.ids[2]} in .* has vanished since this run began; put it back"):
        load_index(tmp_path / "index")
    make([0, 1, 2])
    assert load_index(tmp_path / "index")[0].ids == images.ids


def test_the_index_names_a_vanished_source_and_its_own_damage(tmp_path: Path) -> None:
    images = open_images(write(tmp_path / "f", {"a.png": GOOD["a.png"]()}))
    save_index(images, (), tmp_path / "index")
    (tmp_path / "f" / "a.png").unlink()
    (tmp_path / "f").rmdir()
    with pytest.raises(DataError, match="f does not exist"):
        load_index(tmp_path / "index")
    for damage in ("", "{", "[]\n", '{"id": "a"}\n'):
        (tmp_path / "index" / "index.jsonl").write_text(damage)
        with pytest.raises(DataError, match=r"index\.jsonl is missing or damaged"):
            load_index(tmp_path / "index")


def test_images_from_nowhere_have_no_index(tmp_path: Path) -> None:
    class Painted:
        ids = ("one",)

        def __len__(self) -> int:
            return 1

        def data(self, index: int) -> bytes:
            return encoded(picture(index))

        def read(self, index: int) -> Image.Image:
            return decode(self.data(index), self.ids[index])

    kept, _ = check_images(Painted())
    for images in (kept, subset(kept, [0])):
        with pytest.raises(UsageError, match="use open_images"):
            save_index(images, (), tmp_path)
