"""How alike are two icons, whatever their colour, size, place and facing? Two small descriptors and a dot product.

*Shape* is the ink inside its bounding box at 16 x 16; *edges* is the gradient of the picture in the same box, which
also sees the lines inside a coloured icon. Both are centred and of unit length, so a dot product is a correlation.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

GRID, CHUNK = 16, 4096


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) without their mean and of length 1; a constant row becomes zero."""
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _framed(plane: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """A (64, 64) uint8 plane cut to ``box`` (in the padded plane) and shrunk to (side, side) in 0..1."""
    picture = Image.fromarray(np.pad(plane, 32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX, box=box), np.float32) / 255


def _box(alpha: np.ndarray) -> tuple[float, float, float, float]:
    """The smallest square around the ink, in the coordinates of the plane padded by 32."""
    rows, columns = np.flatnonzero((alpha > 32).any(1)), np.flatnonzero((alpha > 32).any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    half = max(bottom - top, right - left) / 2
    y, x = (top + bottom) / 2 + 32, (left + right) / 2 + 32
    return x - half, y - half, x + half, y + half


def _gradient(plane: np.ndarray) -> np.ndarray:
    """Gradient length of a (2s, 2s) plane, averaged down to (s, s)."""
    size = np.hypot(*np.gradient(plane))
    return size.reshape(GRID, 2, GRID, 2).mean((1, 3))


def describe(alpha: np.ndarray, rgb: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Shape and edges, each (16, 16) float32, of one icon: alpha (64, 64) and, for colour icons, rgb (64, 64, 3)."""
    box = _box(alpha)
    edges = _gradient(_framed(alpha, box, 2 * GRID))
    if rgb is not None:
        grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
        dark = ((255 - grey) * (alpha / 255)).astype(np.uint8)
        edges = edges + _gradient(_framed(dark, box, 2 * GRID))
    return _framed(alpha, box, GRID), edges


def descriptors(work: Path) -> np.ndarray:
    """All icons' descriptors, (N, 2, 256) float16, computed once into ``WORK/descriptors.npy``."""
    path = work / "descriptors.npy"
    if not path.is_file():
        rows = [json.loads(line) for line in (work / "icons.jsonl").open()]
        alpha, rgb = (np.load(work / f"{name}.npy", mmap_mode="r") for name in ("alpha", "rgb"))
        out, colour = np.zeros((len(rows), 2, GRID * GRID), np.float32), 0
        for i, row in enumerate(rows):
            shape, edges = describe(alpha[i], rgb[colour] if row["colour"] else None)
            out[i], colour = (shape.ravel(), edges.ravel()), colour + row["colour"]
        np.save(path, np.stack([_unit(out[:, 0]), _unit(out[:, 1])], 1).astype(np.float16))
    return np.load(path, mmap_mode="r")


def mirrored(rows: np.ndarray) -> np.ndarray:
    """Descriptors (n, 2, 256) of the same icons facing the other way."""
    return rows.reshape(-1, 2, GRID, GRID)[..., ::-1].reshape(rows.shape)


def alike(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Likeness (n, m) in -1..1: the mean of the two correlations, of the better facing of ``left``."""
    faced = (left.astype(np.float32), mirrored(left).astype(np.float32))
    other = right.reshape(len(right), -1).astype(np.float32).T
    return np.maximum(*(f.reshape(len(f), -1) @ other for f in faced)) / 2


def best_match(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of ``left``: the likeness and the index of its nearest row of ``right``."""
    score, index = np.full(len(left), -1, np.float32), np.zeros(len(left), np.int64)
    for start in range(0, len(right), CHUNK):
        likeness = alike(left, right[start : start + CHUNK])
        best = likeness.argmax(1)
        value = likeness[np.arange(len(left)), best]
        better = value > score
        score[better], index[better] = value[better], best[better] + start
    return score, index
