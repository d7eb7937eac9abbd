"""Icons -> RGB pictures: ink, paper and contrast, drawn anew for each seed.

A picture is a pure function of (seed, icon index): the batch it comes in, its order and its neighbours do not matter.
"""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats, Singles, Flags = NDArray[np.floating], NDArray[np.float32], NDArray[np.bool_]
SIZE = 64
DRAWS = 9  # uniform numbers that one picture uses: scheme, two colours (hue, saturation, value), paper kind, spare
PLAIN, WHITE_PAPER, WHITE_INK = 0.50, 0.66, 0.76  # upper ends of the first three schemes of single-colour icons
CONTRAST = 0.3  # least difference in luma between ink and paper
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Uniforms(Protocol):
    """What ``compose`` asks of its randomness; ``numpy.random.Generator`` has it too."""

    def random(self, size: tuple[int, int], /) -> NDArray[np.float64]: ...


class IndexedDraws:
    """Uniform numbers that depend on (seed, index, column) alone: a SplitMix64 hash of the three."""

    def __init__(self, seed: int, indices: NDArray[np.integer]) -> None:
        self.keys = _mix(np.asarray(indices).astype(np.uint64) + _mix(np.array([seed], np.uint64)))

    def random(self, size: tuple[int, int], /) -> NDArray[np.float64]:
        """Numbers in [0, 1), ``(n, columns)``."""
        rows, columns = size
        if rows != len(self.keys):
            raise ValueError(f"asked for {rows} rows of draws, but there are {len(self.keys)} indices")
        words = _mix(self.keys[:, None] + np.arange(1, columns + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03))
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one step and its finaliser."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def hsv_to_rgb(hue: Floats, saturation: Floats, value: Floats) -> Singles:
    """Colours in [0, 1], ``(n, 3)``, from three ``(n,)`` arrays in [0, 1]."""
    k = (np.array([5.0, 3.0, 1.0]) + 6.0 * hue[:, None]) % 6.0
    ramp = np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)
    return (value[:, None] * (1.0 - saturation[:, None] * ramp)).astype(np.float32)


def ink_and_paper(u: Floats) -> tuple[Singles, Singles]:
    """Colours of single-colour icons from ``(n, DRAWS)`` uniforms: two ``(n, 3)`` arrays in [0, 1].

    Half are black on white, a sixth coloured ink on white, a tenth white on a colour, the rest any two colours.
    """
    scheme = u[:, 0:1]
    colour, other = hsv_to_rgb(u[:, 1], u[:, 2], u[:, 3]), hsv_to_rgb(u[:, 4], u[:, 5] ** 2, u[:, 6])
    ink = np.where(scheme < PLAIN, 0.0, colour)
    paper = np.where(scheme < WHITE_PAPER, 1.0, other)
    swap = (scheme >= WHITE_PAPER) & (scheme < WHITE_INK)
    ink, paper = np.where(swap, 1.0, ink), np.where(swap, colour, paper)
    return _apart(ink, paper, fixed_ink=swap, fixed_paper=scheme < WHITE_PAPER)


def _apart(ink: Floats, paper: Floats, fixed_ink: Flags, fixed_paper: Flags) -> tuple[Singles, Singles]:
    """Keep the contrast floor: darken the partner of white, else push the paper to the far end."""
    close = np.abs((ink - paper) @ LUMA)[:, None] < CONTRAST
    far = ((ink @ LUMA)[:, None] < 0.5).astype(np.float32)
    moved = np.where(fixed_ink, 0.5 * paper, 0.2 * paper + 0.8 * far)
    paper = np.where(close & ~fixed_paper, moved, paper)
    ink = np.where(close & fixed_paper, 0.5 * ink, ink)
    return ink.astype(np.float32), paper.astype(np.float32)


def paper_for_colour(u: Floats, luma: Floats) -> Singles:
    """Papers of colour icons ``(n, 3)``: white for 60 %, else a tint; flipped if the icon would vanish."""
    tint, kind = hsv_to_rgb(u[:, 1], u[:, 2], np.ones(len(u))), u[:, 7:8]
    light, dark = 1.0 - 0.35 * (1.0 - tint) * u[:, 3:4], 0.3 * tint * u[:, 3:4]
    paper = np.where(kind < 0.6, 1.0, np.where(kind < 0.8, light, dark))
    vanishes = np.abs(paper @ LUMA - luma)[:, None] < 0.12
    return np.where(vanishes, np.where(luma[:, None] > 0.5, dark, light), paper).astype(np.float32)


def compose(alpha: NDArray[np.uint8], rgb: NDArray[np.uint8], colour: NDArray[np.bool_], rng: Uniforms
            ) -> NDArray[np.uint8]:  # fmt: skip
    """Paint ``n`` icons on papers: ``(n, 3, 64, 64)`` uint8.

    Args:
        alpha: coverage, ``(n, 64, 64)``.
        rgb: straight colours of the colour icons of this batch only, in their order, ``(colour.sum(), 64, 64, 3)``.
        colour: which icons have their own colours, ``(n,)``.
        rng: a ``numpy.random.Generator``, or ``IndexedDraws`` for pictures that do not depend on the batch.
    """
    u = rng.random((len(alpha), DRAWS))
    pictures = np.empty((len(alpha), 3, SIZE, SIZE), np.uint8)
    single = np.flatnonzero(~colour)
    ink, paper = (np.round(255.0 * c).astype(np.float32) for c in ink_and_paper(u[single]))
    for row, i in enumerate(single):  # a picture at a time stays in the cache: four times as fast as whole batches
        cover = alpha[i] * np.float32(1 / 255)
        for channel in range(3):
            pictures[i, channel] = paper[row, channel] + 0.5 + (ink[row, channel] - paper[row, channel]) * cover
    for row, i in enumerate(np.flatnonzero(colour)):
        cover = alpha[i, :, :, None] * np.float32(1 / 255)
        weight = cover[::4, ::4]
        luma = (rgb[row, ::4, ::4] * weight / 255 @ LUMA).sum() / max(float(weight.sum()), 1e-3)
        sheet = np.round(255.0 * paper_for_colour(u[i : i + 1], np.array([luma])))
        pictures[i] = (sheet + 0.5 + (rgb[row] - sheet) * cover).transpose(2, 0, 1)
    return pictures


class Icons:
    """The rendered icons on disk, as memory maps, and pictures of any of them by index.

    ``rows`` is the table (dicts with set, name, words, style, colour, held_out), one row an icon.
    """

    def __init__(self, folder: Path) -> None:
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "icons.jsonl").open()]
        self.alpha = np.load(folder / "alpha.npy", mmap_mode="r")
        self.rgb = np.load(folder / "rgb.npy", mmap_mode="r")
        self.colour = np.array([row["colour"] for row in self.rows])
        self.held_out = np.array([row["held_out"] for row in self.rows])
        self._rgb_row = np.cumsum(self.colour) - 1

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def train_indices(self) -> NDArray[np.intp]:
        """Indices of the icons that models may be trained on."""
        return np.flatnonzero(~self.held_out)

    @property
    def held_out_indices(self) -> NDArray[np.intp]:
        """Indices of the icons that no nano model may see."""
        return np.flatnonzero(self.held_out)

    def parts(self, indices: NDArray[np.integer]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
        """Coverage, colours (of the colour icons among them) and which have colours: the arguments of ``compose``."""
        colour = self.colour[indices]
        return self.alpha[indices], self.rgb[self._rgb_row[indices[colour]]], colour

    def batch(self, indices: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """Pictures ``(n, 3, 64, 64)`` uint8 of the given icons, each a function of (seed, its index) alone."""
        return compose(*self.parts(indices), IndexedDraws(seed, indices))
