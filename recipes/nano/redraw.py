"""The same icon drawn in another way: one ink from colours, contours of solids, filled outlines, two tones, shading.

Some ways of drawing are rare among the training icons (two tones, 3d) or absent (an emoji in one ink). A redrawn icon
keeps its name; its style becomes that of the new drawing, or "" where no style word fits.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pictures import LUMA, SIZE, Icons, IndexedDraws, compose, hsv_to_rgb
from scipy import ndimage

Plane = NDArray[np.float32]  # (64, 64) in [0, 1]


class Drawing(NamedTuple):
    """Coverage (64, 64), and straight colours (64, 64, 3) or nothing for a drawing in one ink; both in [0, 1]."""

    alpha: Plane
    rgb: NDArray[np.float32] | None


Redraw = Callable[[Drawing, np.random.Generator], Drawing]


def luma(drawing: Drawing) -> Plane:
    """Brightness of a colour drawing, stretched to [0, 1] between its darkest and lightest parts."""
    assert drawing.rgb is not None
    y = drawing.rgb @ LUMA
    inside = y[drawing.alpha > 0.5]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)
    return np.clip((y - low) / max(high - low, 0.1), 0, 1)


def contour(alpha: Plane, width: int) -> Plane:
    """The rim of a shape, ``width`` pixels wide, inside of it."""
    return alpha - ndimage.minimum_filter(alpha, 2 * width + 1)


def in_one_ink(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """The dark parts of a colour drawing, and the rim of the whole, as one ink; or the light parts."""
    y, edge = luma(drawing), rng.uniform(0.3, 0.7)
    dark = np.clip((edge - y) / 0.1 + 0.5, 0, 1)
    if rng.random() < 0.4:
        return Drawing(drawing.alpha * (1 - dark), None)
    return Drawing(np.maximum(drawing.alpha * dark, contour(drawing.alpha, int(rng.integers(1, 3)))), None)


def as_lines(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """The borders between the colours of a drawing, as one ink."""
    assert drawing.rgb is not None
    paper = drawing.rgb * drawing.alpha[..., None] + (1 - drawing.alpha[..., None])
    spread = [ndimage.maximum_filter(c, 3) - ndimage.minimum_filter(c, 3) for c in paper.transpose(2, 0, 1)]
    lines = np.clip((np.max(spread, 0) - 0.12) * rng.uniform(2.5, 6), 0, 1)
    return Drawing(ndimage.maximum_filter(lines, 2) if rng.random() < 0.4 else lines, None)


def as_silhouette(drawing: Drawing, _rng: np.random.Generator) -> Drawing:
    """The whole shape as one ink."""
    return Drawing(drawing.alpha, None)


def as_outline(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """The rim of a solid shape and of its holes."""
    return Drawing(contour(drawing.alpha, int(rng.integers(1, 3))), None)


def filled(drawing: Drawing, _rng: np.random.Generator) -> Drawing:
    """An outline with its inside filled."""
    inside = ndimage.binary_fill_holes(drawing.alpha > 0.35).astype(np.float32)
    return Drawing(np.maximum(drawing.alpha, inside), None)


def in_two_tones(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """Full lines over a paler inside, as duotone icons have it."""
    solid = filled(drawing, rng).alpha
    hollow = drawing.alpha.sum() < 0.7 * solid.sum()
    lines = drawing.alpha if hollow else contour(drawing.alpha, int(rng.integers(1, 3)))
    return Drawing(np.maximum(lines, np.float32(rng.uniform(0.2, 0.5)) * solid), None)


def shaded(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """A rounded body: light from above, darker towards the rim, on its own colours or a random one."""
    alpha, rgb = drawing
    if rgb is None:
        alpha = filled(drawing, rng).alpha if rng.random() < 0.2 else alpha
        base = hsv_to_rgb(rng.random(1), rng.uniform(0.3, 1, 1), rng.uniform(0.5, 1, 1))
        rgb = np.broadcast_to(base[0], (SIZE, SIZE, 3))
    height = ndimage.uniform_filter(ndimage.uniform_filter(alpha, 9), 9)
    down, right = np.gradient(height)
    light = rng.uniform(2, 5) * (down + rng.uniform(-0.7, 0.7) * right)  # the rim facing up and to one side is lit
    slope = np.linspace(rng.uniform(0, 0.25), -rng.uniform(0, 0.25), SIZE, dtype=np.float32)[:, None]
    body = np.clip(0.75 + 0.3 * height + light + slope, 0.2, 1.6)[..., None]
    lit = rgb * np.minimum(body, 1) + (1 - rgb) * np.clip(body - 1, 0, 0.7)
    return Drawing(alpha, np.clip(lit, 0, 1).astype(np.float32))


def coloured(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """Each part that the lines enclose in a colour of its own, mostly alike; the lines dark, or as a solid body."""
    lines, inside = drawing.alpha, filled(drawing, rng).alpha
    parts, count = ndimage.label((inside > 0.5) & (lines < 0.5))
    parts[np.bincount(parts.ravel())[parts] < 8] = 0  # specks between lines
    hue = (rng.random() + rng.normal(0, 0.08, count + 1)) % 1
    palette = hsv_to_rgb(hue, rng.uniform(0.15, 0.9, count + 1), rng.uniform(0.6, 1, count + 1))
    dark = hsv_to_rgb(hue[:1], rng.uniform(0, 0.8, 1), rng.uniform(0, 0.6, 1))[0]
    near = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
    body = palette[parts[near[0], near[1]]]  # a part's colour goes on under its lines
    cover = lines[..., None] * np.float32(rng.choice([1.0, 1.0, 0.4]))
    return Drawing(inside, body * (1 - cover) + dark * cover)


# style of the icon -> (the new drawing, its style, its share of the icons of that style)
WAYS: dict[str, list[tuple[Redraw, str, float]]] = {
    "emoji": [(in_one_ink, "", 0.14), (as_lines, "", 0.08), (as_silhouette, "solid", 0.04), (shaded, "3d", 0.12)],
    "flat color": [(in_one_ink, "", 0.14), (as_lines, "", 0.08), (as_silhouette, "solid", 0.04), (shaded, "3d", 0.12)],
    "3d": [(in_one_ink, "", 0.12), (as_lines, "", 0.06)],
    "solid": [(as_outline, "outline", 0.1), (in_two_tones, "duotone", 0.08), (shaded, "3d", 0.08),
              (coloured, "", 0.12)],
    "outline": [(filled, "solid", 0.03), (in_two_tones, "duotone", 0.06), (coloured, "", 0.18)],
}  # fmt: skip


def choose(style: str, u: float) -> tuple[Redraw, str] | None:
    """What to make of an icon of a style, for a uniform number ``u``; mostly nothing."""
    for redraw, new, share in WAYS.get(style, []):
        if u < share:
            return redraw, new
        u -= share
    return None


def redrawn_batch(icons: Icons, indices: NDArray[np.integer], seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Like ``Icons.batch``, with some icons redrawn: pictures ``(n, 3, 64, 64)`` and the style of each.

    Each picture is a function of (seed, its index) alone.
    """
    alpha, rgb, colour = icons.parts(indices)
    u, styles = IndexedDraws(seed + 1, indices).random((len(indices), 1))[:, 0], []
    coloured, at = [], 0
    for i, index in enumerate(indices):
        own = rgb[at] if colour[i] else None
        at += own is not None
        style = icons.rows[index]["style"]
        if way := choose(style, u[i]):
            redraw, style = way
            drawing = Drawing(alpha[i] / np.float32(255), None if own is None else own / np.float32(255))
            new = redraw(drawing, np.random.default_rng((seed, int(index))))
            alpha[i] = np.round(255 * new.alpha)
            own = None if new.rgb is None else np.round(255 * new.rgb).astype(np.uint8)
        styles.append(style)
        colour[i] = own is not None
        coloured += [] if own is None else [own]
    rgb = np.stack(coloured) if coloured else np.empty((0, SIZE, SIZE, 3), np.uint8)
    return compose(alpha, rgb, colour, IndexedDraws(seed, indices)), styles
