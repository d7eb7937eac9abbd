"""Style words for prompts: the 86 of DFKD-VLFM's Table 8, a subset that names no test domain, or the user's own."""

import difflib
from pathlib import Path

from promptstill.errors import DataError, UsageError

# Row by row as printed, eight columns. "Michelangelo Caravaggio" is one entry: only then are there 86.
_TABLE = """
image, graph, picture, figure, diagram, plot, Midcentury, fantasy
view, profile, pattern, drawing, chart, Art Nouveau, naive, mysterious
Camille Pissarro, Michelangelo Caravaggio, Claude Monet, Edgar Degas, Edvard Munch, Fauvism, Old-School Tattoo, \
science fiction
Futurism, Impressionism, Picasso, Pop Art, Modern art, Surreal Art, Pen and Ink, blurry
Sandro Botticelli, oil paints, watercolours, weird bananas, strange colours, binary, pencil illustration, geometric
Architectural, Retro, Directoire, Transitional, Empire, International, photorealism, hazy
Kerch, digital, daguerreotype, Medical, cult, Ambiguous, primitivism, icon
false-color, comic, graphic, film, favicon, macro, psychedelic, mosaic
noir, abstract expressionism, vintage, minimalism, long exposure, portrait, screenprint, surrealism
graffiti, cubism, infograph, quickdraw, realistic, pixel_style, woodcut, collage
pointillism, wash painting, flat illustration, folk, isometric, charcoal
"""

STYLES: tuple[str, ...] = tuple(style.strip() for row in _TABLE.strip().splitlines() for style in row.split(","))

# The paper leaves out words of its test domains; these still name a domain of PACS or DomainNet, or a kind of it.
LEAKS: dict[str, tuple[str, ...]] = {
    "art painting": ("oil paints", "watercolours", "wash painting"),
    "cartoon or clipart": ("comic", "graphic", "flat illustration"),
    "infograph": ("infograph",),
    "photo": ("photorealism", "realistic", "film", "daguerreotype"),
    "sketch or quickdraw": ("drawing", "quickdraw", "pencil illustration", "charcoal", "Pen and Ink"),
}

STRICT: tuple[str, ...] = tuple(style for style in STYLES if not any(style in leak for leak in LEAKS.values()))

NAMED: dict[str, tuple[str, ...]] = {"paper": STYLES, "strict": STRICT}


def load_styles(source: str) -> tuple[str, ...]:
    """``paper`` (all 86), ``strict`` (without :data:`LEAKS`), or a ``.txt`` file with one style a line.

    Raises:
        UsageError: ``source`` names no list. DataError: the file cannot be read, or has an empty line or one twice.
    """
    if source in NAMED:
        return NAMED[source]
    path = Path(source)
    if path.suffix != ".txt":
        near = difflib.get_close_matches(source, NAMED, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"unknown styles {source!r}{hint}; use {', '.join(NAMED)} or a .txt file with one a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot read the styles in {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text; give a text file with one style a line") from None
    return _checked(path, [line.strip() for line in lines])


def _checked(path: Path, styles: list[str]) -> tuple[str, ...]:
    if not styles:
        raise DataError(f"{path} holds no style; write one a line")
    seen: dict[str, int] = {}
    for number, style in enumerate(styles, 1):
        if not style:
            raise DataError(f"line {number} of {path} is empty; remove it or write a style there")
        if style.casefold() in seen:
            raise DataError(f"lines {seen[style.casefold()]} and {number} of {path} are the same style {style!r}")
        seen[style.casefold()] = number
    return tuple(styles)
