"""Vector icons -> a table and pixel arrays: fetch, filter, name, style, render.

The source is the npm package ``@iconify/json``: one JSON file an icon set, with names, a licence and SVG bodies.
Everything here is deterministic: the same package gives the same table and the same pixels.
"""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

PACKAGE, VERSION, SIZE = "@iconify/json", "2.2.535", 64
LICENCES = {"MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0", "ISC", "OFL-1.1", "Unlicense", "BSD-3-Clause", "BSD-2-Clause"}
DROPPED_CATEGORIES = {"Logos", "Programming"}
DROPPED_SETS = {"circle-flags", "flag", "flagpack", "cif", "svg-spinners", "bpmn", "fad", "academicons", "fontelico",
                "fa6-brands", "fa-brands", "fa7-brands", "geo", "ginetex"}  # fmt: skip

# Sets that no nano model may see: whole families (a set and its recoloured or redrawn editions) stay on one side.
HELD_OUT = {"twemoji", "fluent-emoji", "fluent-emoji-flat", "fluent-emoji-high-contrast", "emojione",
            "emojione-monotone", "ph", "tabler", "carbon", "mingcute", "pinhead", "temaki", "maki", "streamline-pixel",
            "fa", "fa-solid", "fa-regular", "fa6-solid", "fa6-regular", "fa7-solid", "fa7-regular", "la",
            "streamline-ultimate", "streamline-ultimate-color", "solar", "reicon", "healthicons",
            "openmoji"}  # fmt: skip

PIXEL_SETS = {"pixelarticons", "pixel", "streamline-pixel", "memory", "dinkie-icons"}
HAND_SETS = {"streamline-freehand", "streamline-freehand-color"}
EMOJI_SETS = {"twemoji", "noto", "noto-v1", "fluent-emoji-flat", "emojione", "fxemoji", "streamline-emojis"}
SHADED_SETS = {"fluent-emoji", "fluent-color", "meteocons"}
DUOTONE = re.compile(r"duotone|two-?tone|bulk|(^|-)duo(-|$)")
SOLID = re.compile(r"(^|-)(fill|filled|solid|bold|sharp-fill)$")
OUTLINE = re.compile(r"(^|-)(outline|outlined|line|linear|light|thin|stroke)$")
AFFIXES = {
    "bold", "fill", "filled", "duotone", "outline", "outlined", "line", "linear", "light", "thin", "regular",
    "solid", "sharp", "rounded", "round", "twotone", "two", "tone", "broken", "remix", "negative", "baseline",
    "24px", "stroke", "duo", "poly", "free", "alt", "o", "f",
}  # fmt: skip
SIZES = {"8", "10", "12", "16", "20", "24", "28", "32", "48"}
SKIN = re.compile(r"skin-tone|-(medium-)?(light|dark)(-|$)|-medium(-|$)")
WEIGHT_TWINS = re.compile(r"-(thin|light|bold)(-|$)")


@dataclass(frozen=True)
class Icon:
    """One kept icon. ``words`` is the plain-text name, ``style`` a word of captions.STYLES or "" when unsure."""

    set: str
    name: str
    words: str
    style: str
    colour: bool
    held_out: bool


def fetch(work: Path) -> Path:
    """Download the icon package with npm and unpack it; returns its folder."""
    folder = work / "iconify" / "package"
    if not (folder / "collections.json").is_file():
        (work / "iconify").mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent"], cwd=work, check=True,
                                capture_output=True, text=True).stdout.split()[-1]  # fmt: skip
        with tarfile.open(work / packed) as archive:
            archive.extractall(work / "iconify", filter="data")
    return folder


def kept_sets(package: Path) -> dict[str, dict]:
    """Sets whose licence lets us train on them and ship pictures of them, without logos, flags and programming."""
    sets = json.loads((package / "collections.json").read_text())
    return {p: s for p, s in sets.items() if s["license"].get("spdx") in LICENCES
            and s.get("category") not in DROPPED_CATEGORIES and p not in DROPPED_SETS}  # fmt: skip


def plain_words(name: str) -> str:
    """The name without sizes, weights, style words and numbers: ``dog-side-24-filled`` -> ``dog side``."""
    words = name.split("-")
    while len(words) > 1 and (words[-1] in AFFIXES or words[-1].isdigit() or words[-1] in SIZES):
        words.pop()
    while len(words) > 1 and words[0] in {"baseline", "outline", "round", "sharp", "twotone"}:
        words.pop(0)
    words = [re.sub(r"(?<=[a-z])\d+$", "", w) for w in words]
    return " ".join(w for w in words if w)


def named_style(prefix: str, name: str, colour: bool) -> str:
    """The style that the set or the name states; "" when neither does (then the pixels decide)."""
    if prefix in PIXEL_SETS:
        return "pixel art"
    if prefix in HAND_SETS:
        return "hand drawn"
    if DUOTONE.search(name) or prefix in {"icon-park-twotone", "uim", "duo-icons"}:
        return "duotone"
    if colour:
        return "emoji" if prefix in EMOJI_SETS else "3d" if prefix in SHADED_SETS else "flat color"
    return "solid" if SOLID.search(name) else "outline" if OUTLINE.search(name) else ""


def list_icons(package: Path) -> Iterator[Icon]:
    """Icons of the kept sets, one of each group of size, weight and skin twins."""
    for prefix, info in sorted(kept_sets(package).items()):
        colour, seen = bool(info.get("palette")), set()
        names = json.loads((package / "json" / f"{prefix}.json").read_text())["icons"]
        for name in sorted(names, key=lambda n: (len(n), n)):
            words = plain_words(name)
            if SKIN.search(name) and prefix in EMOJI_SETS | SHADED_SETS | {"fluent-emoji-high-contrast"}:
                continue
            if prefix in {"ph", "iconmind", "material-symbols-light"} and WEIGHT_TWINS.search(name):
                continue
            if len(words) < 2 or len(words.split()) > 5 or re.search(r"\b(logo|brand)\b", words):
                continue
            style = named_style(prefix, name, colour)
            number = re.search(r"\d+", re.sub(r"-(\d+)(?=-|$)", lambda m: "" if m[1] in SIZES else m[0], name))
            key = (words, style, number[0] if number else "")
            if key not in seen:
                seen.add(key)
                yield Icon(prefix, name, words, style, colour, prefix in HELD_OUT)


def svg_text(data: dict, name: str) -> str:
    """A square SVG document of one icon, its current colour black."""
    icon = data["icons"][name]
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(k, data.get(k, 16)) for k in ("width", "height"))
    side = max(width, height)
    left, top = left - (side - width) / 2, top - (side - height) / 2
    body = icon["body"].replace("currentColor", "#000")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{SIZE}" '
            f'height="{SIZE}" viewBox="{left} {top} {side} {side}">{body}</svg>')  # fmt: skip


def render_set(package: Path, prefix: str, names: list[str]) -> np.ndarray:
    """Straight-alpha RGBA pixels, (n, 64, 64, 4) uint8; an icon that cannot be drawn stays empty."""
    import io

    import resvg_py
    from PIL import Image

    data = json.loads((package / "json" / f"{prefix}.json").read_text())
    pixels = np.zeros((len(names), SIZE, SIZE, 4), np.uint8)
    for row, name in enumerate(names):
        try:
            png = resvg_py.svg_to_bytes(svg_string=svg_text(data, name))
            pixels[row] = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))
        except (ValueError, OSError):
            continue  # counted as blank by the caller
    return pixels


def pixel_style(alpha: np.ndarray) -> str:
    """Outline or solid from the share of ink that survives an erosion of three pixels; "" in between."""
    from PIL import Image, ImageFilter

    ink = alpha > 127
    core = np.asarray(Image.fromarray(ink.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(7))) > 127
    share = core.sum() / max(ink.sum(), 1)
    return "solid" if share > 0.15 else "outline" if share < 0.01 else ""


def render(work: Path) -> None:
    """Write ``icons.jsonl``, ``alpha.npy`` (N, 64, 64) and ``rgb.npy`` (colour icons only, in order)."""
    if (work / "icons.done").exists():
        return
    package = fetch(work)
    by_set: dict[str, list[Icon]] = {}
    for icon in list_icons(package):
        by_set.setdefault(icon.set, []).append(icon)
    table, alphas, rgbs, blank = [], [], [], 0
    with ProcessPoolExecutor() as pool:
        jobs = {p: pool.submit(partial(render_set, package, p, [i.name for i in icons])) for p, icons in by_set.items()}
        for prefix, icons in by_set.items():
            pixels = jobs.pop(prefix).result()
            for icon, picture in zip(icons, pixels, strict=True):
                alpha = picture[..., 3]
                if not 0.01 < (alpha > 64).mean() < 0.99:
                    blank += 1
                    continue
                style = icon.style or pixel_style(alpha)
                table.append(asdict(icon) | {"style": style})
                alphas.append(alpha)
                if icon.colour:
                    rgbs.append(picture[..., :3])
    np.save(work / "alpha.npy", np.stack(alphas))
    np.save(work / "rgb.npy", np.stack(rgbs))
    (work / "icons.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (work / "icons.done").write_text(f"{len(table)} icons, {blank} blank or full ones dropped\n")


if __name__ == "__main__":
    import sys

    render(Path(sys.argv[1]))
