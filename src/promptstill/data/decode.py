"""Encoded bytes of any common image format -> upright 8-bit RGB, or one sentence that says why not."""

import functools
import io
import threading
import warnings

import numpy as np
from PIL import Image

from promptstill.errors import DataError

PIXEL_LIMIT = 64_000_000  # declared pixels; checked from the header before decoding
TOO_LARGE = f"it declares more than {PIXEL_LIMIT / 1e6:.0f} megapixels"
BYTES_LIMIT = 64 << 20  # encoded bytes of one image
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # no format that starts another program (EPS, WMF)
TURNS = {  # EXIF orientation -> what puts the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112


class ImageError(DataError):
    """One image that cannot be used; ``reason`` is the message without name and remedy."""

    reason: str = ""


def image_error(name: str, reason: str) -> ImageError:
    """``ImageError("<name>: <reason>; <remedy>")``; not a constructor, so that worker processes can pass it on."""
    error = ImageError(f"{name}: {reason}; replace or remove it")
    error.reason = reason
    return error


class _Quiet:
    """Ignores Pillow's warnings while at least one thread decodes; ``catch_warnings`` alone leaks across threads."""

    def __init__(self) -> None:
        self.lock, self.depth, self.caught = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                self.caught.__exit__(None, None, None)


_quiet = _Quiet()


def decode(data: bytes, name: str) -> Image.Image:
    """Encoded bytes -> upright 8-bit RGB image without metadata; transparency on white; the first frame of several.

    16-bit grey keeps its scale (65535 -> 255); 32-bit and float grey outside 0..65535 and 0..1 are stretched
    from minimum to maximum. Colour profiles are not applied. Raises ``DataError``: ``<name>: <reason>; <remedy>``.
    """
    if not data:
        raise image_error(name, "the file is empty")
    if len(data) > BYTES_LIMIT:
        raise image_error(name, too_long(len(data)))
    try:
        with _quiet, Image.open(io.BytesIO(data), formats=_formats()) as image:
            return normal(image, name)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise image_error(name, TOO_LARGE) from None
    except Image.UnidentifiedImageError:
        raise image_error(name, "not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF)") from None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise image_error(name, f"damaged or cut short ({brief(error)})") from None


def normal(image: Image.Image, name: str) -> Image.Image:
    """An image that Pillow has opened -> as :func:`decode` gives it. Raises ``DataError`` likewise."""
    if image.width * image.height > PIXEL_LIMIT:
        raise image_error(name, TOO_LARGE)
    try:
        with _quiet:
            image.load()
            return _rgb(_upright(image))
    except MemoryError:
        raise
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise image_error(name, f"damaged or cut short ({brief(error)})") from None


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()  # AVIF and WebP are optional parts of Pillow
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation. After loading: Pillow turns a TIFF itself while it loads, and then drops the tag."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata beside good pixels; the parser may raise anything
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _grey(image)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    image = image.convert("RGB")
    image.info = {}  # otherwise the next reader might turn it again
    return image


def _grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey -> 8 bits. Pillow's own conversion clips at 255."""
    pixels = np.asarray(image)
    values = pixels.astype(np.float32 if pixels.itemsize == 2 else np.float64)
    if not np.isfinite(values).all():
        raise ValueError("its pixels are not all finite")
    low, high = 0.0, 1.0 if image.mode == "F" else 65535.0
    if values.min() < low or values.max() > high:
        low, high = float(values.min()), float(values.max())
    grey = np.rint((values - low) * (255.0 / max(high - low, 1e-12)))
    key = image.info.get("transparency")  # one grey value that means "nothing here"
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def too_long(size: int) -> str:
    """Why an image of so many encoded bytes is refused."""
    return f"{size / 2**20:.0f} MiB encoded, over the {BYTES_LIMIT >> 20} MiB allowed for one image"


def brief(error: BaseException) -> str:
    """The first line of an error, or its type."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(".")
