"""Charts as inline SVG: each a pure function from figures to a picture with a text alternative."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from promptstill.pages.svg import WIDTH, Scale, colour, line, marker, rect, svg, tag, text
from promptstill.pages.words import signed

Rows = Sequence[tuple[str, Sequence[float | None]]]
LABEL = 96  # units for the names of rows
CHARACTERS = 15  # of a row's name that fit there


@dataclass(frozen=True)
class Curve:
    """A series of points (x, y) with its name and its number, which gives mark and colour."""

    name: str
    number: int
    points: Sequence[tuple[float, float]]


def short(name: str, most: int = CHARACTERS) -> str:
    """A name that fits its place."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def dots(rows: Rows, series: Sequence[str], label: str, chance: float | None = None) -> Markup:
    """Values in per cent of several series by row, on one scale; the first and the last are told in numbers."""
    pitch, right = 26.0, WIDTH - 44.0
    bottom, scale = 8 + pitch * len(rows), Scale(0, 100, LABEL, right)
    parts = _percent_axis(scale, bottom, chance)
    for at, (name, values) in enumerate(rows):
        y, known = 8 + pitch * (at + 0.5), [value for value in values if value is not None]
        parts.append(_row_name(name, y))
        if not known:
            continue
        parts.append(line(scale(min(known)), y, scale(max(known)), y, "span"))
        for number, (who, value) in enumerate(zip(series, values, strict=True)):
            if value is not None:
                parts.append(marker(number, scale(value), y, f"{name}: {who} {value:.1f} %"))
        if values[0] is not None and len(series) == 2 and values[1] is not None:
            parts.append(text(WIDTH, y, signed(values[1] - values[0]), "end", "figure"))
    return svg(bottom + 22, label, parts)


def bars(rows: Sequence[tuple[str, float, float | None]], label: str, number: int = 1) -> Markup:
    """A bar in per cent for each row, and a second value as a mark of the teacher on it."""
    pitch, right = (22.0 if len(rows) <= 12 else 16.0), WIDTH - 30.0
    bottom, scale = 8 + pitch * len(rows), Scale(0, 100, LABEL, right)
    parts = _percent_axis(scale, bottom, None)
    for at, (name, value, other) in enumerate(rows):
        y = 8 + pitch * (at + 0.5)
        told = f"{name}: student {value:.1f} %" + (f", teacher {other:.1f} %" if other is not None else "")
        bar = rect(LABEL, y - pitch * 0.32, scale(value) - LABEL, pitch * 0.64, f"bar {colour(number)}", title=told)
        parts += [_row_name(name, y), bar]
        if other is not None:
            parts.append(marker(0, scale(other), y, told, 4.0))
        parts.append(text(WIDTH, y, f"{value:.0f}", "end", "figure"))
    return svg(bottom + 22, label, parts)


def _row_name(name: str, y: float) -> Markup:
    return tag("g", tag("title", Markup.escape(name)), text(LABEL - 8, y, short(name), "end", "name"))


def _percent_axis(scale: Scale, bottom: float, chance: float | None) -> list[Markup]:
    parts: list[Markup] = []
    for tick in (0, 25, 50, 75, 100):
        parts.append(line(scale(tick), 4, scale(tick), bottom, "rule"))
        parts.append(text(scale(tick), bottom + 11, f"{tick} %" if tick == 100 else tick, "middle", "tick"))
    if chance is not None:
        parts.append(line(scale(chance), 4, scale(chance), bottom, "chance"))
    return parts


def heat(names: Sequence[str], counts: np.ndarray, label: str) -> Markup:
    """A confusion matrix, counts (K, K) by true class (row) and answer (column); shades are shares of the row."""
    few, left = len(names) <= 16, 84.0
    cell, top = (WIDTH - left - 2) / len(names), (62.0 if len(names) <= 16 else 6.0)
    size = min(11.0, cell * 0.95)
    parts: list[Markup] = []
    for i, name in enumerate(names):
        y, total = top + cell * (i + 0.5), max(int(counts[i].sum()), 1)
        parts.append(tag("g", text(left - 5, y, short(name, 14), "end", "name"), font_size=size))
        if few:
            x = left + cell * (i + 0.5)
            turned = text(0, 0, short(name, 11), "start", "name")
            parts.append(tag("g", turned, transform=f"translate({x:.1f},{top - 6:.1f}) rotate(-55)", font_size=size))
        for j, answer in enumerate(names):
            share = counts[i, j] / total
            told = f"{name} called {answer}: {counts[i, j]} of {total}"
            kind = "cell right" if i == j else "cell"
            place = (left + cell * j + 0.5, top + cell * i + 0.5, cell - 1, cell - 1)
            parts.append(rect(*place, "cell none"))
            if share:
                parts.append(rect(*place, kind, title=told, fill_opacity=round(0.12 + 0.88 * float(share), 3)))
            if share and few:
                shade = "count over" if share > 0.55 else "count"
                parts.append(text(place[0] + (cell - 1) / 2, place[1] + (cell - 1) / 2, counts[i, j], "middle", shade))
    return svg(top + cell * len(names) + 2, label, parts)


def curves(given: Sequence[Curve], axes: tuple[str, str], label: str, *, unit_square: bool = False) -> Markup:
    """Lines over a common x. ``unit_square`` spans 0 to 1 both ways and draws the diagonal, as reliability needs."""
    left, right, top, bottom = 40.0, WIDTH - 10.0, 24.0, 204.0
    xs = [x for curve in given for x, _ in curve.points] or [0.0]
    ys = [y for curve in given for _, y in curve.points] or [0.0]
    low, high = (0.0, 1.0) if unit_square else nice(min(ys), max(ys))
    x_low, x_high = (0.0, 1.0) if unit_square else (min(xs), max(xs))
    x_at, y_at = Scale(x_low, x_high, left, right), Scale(low, high, bottom, top)
    parts = [line(x_at(0), y_at(0), x_at(1), y_at(1), "chance")] if unit_square else []
    for share in (0.0, 0.5, 1.0):
        value, place = low + share * (high - low), x_low + share * (x_high - x_low)
        parts.append(line(left, y_at(value), right, y_at(value), "rule"))
        parts.append(text(left - 6, y_at(value), f"{value:.3g}", "end", "tick"))
        if unit_square or place == round(place):
            end = ("start", "middle", "end")[int(2 * share)]
            parts.append(text(x_at(place), bottom + 12, f"{place:.3g}", end, "tick"))
    parts.append(text(0, 8, axes[1], "start", "tick"))
    parts.append(text((left + right) / 2, bottom + 28, axes[0], "middle", "tick"))
    for curve in given:
        parts += _curve(curve, x_at, y_at, axes)
    return svg(bottom + 38, label, parts)


def _curve(curve: Curve, x_at: Scale, y_at: Scale, axes: tuple[str, str]) -> list[Markup]:
    path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in curve.points)
    parts = [tag("polyline", points=path, class_=f"curve {colour(curve.number)}")]
    if len(curve.points) <= 20:
        told = f"{curve.name}: {axes[0]} {{:.3g}}, {axes[1]} {{:.3g}}"
        parts += [marker(curve.number, x_at(x), y_at(y), told.format(x, y), 3.5) for x, y in curve.points]
    return parts


def nice(low: float, high: float) -> tuple[float, float]:
    """A range that starts at zero where that costs little, and never has no height: one value stands at the top."""
    if 0 <= low <= 0.6 * high:
        low = 0.0
    return (low, high) if high > low else (min(0.0, low), max(0.0, high) or 1.0)


def scatter(points: np.ndarray, groups: Sequence[str], right: Sequence[bool], label: str) -> Markup:
    """Points (N, 2), round if the answer was right and a cross if not, with each group's name at its middle."""
    height, edge = 340.0, 14.0
    low, high = points.min(0), points.max(0)
    x_at = Scale(float(low[0]), float(high[0]), edge, WIDTH - edge)
    y_at = Scale(float(low[1]), float(high[1]), height - edge, edge)
    parts: list[Markup] = []
    for (x, y), group, good in zip(points.tolist(), groups, right, strict=True):
        told = tag("title", Markup.escape(f"{group}, {'right' if good else 'wrong'}"))
        place = {"transform": f"translate({x_at(x):.1f},{y_at(y):.1f})"}
        shape = tag("circle", told, r=2.4, class_="dot", **place)
        parts.append(
            shape if good else tag("path", told, d="M-2.6,-2.6 L2.6,2.6 M-2.6,2.6 L2.6,-2.6", class_="cross", **place)
        )
    middles: dict[str, tuple[float, float]] = {}
    for group in dict.fromkeys(groups):
        x, y = np.median(points[[name == group for name in groups]], axis=0).tolist()
        middles[group] = (min(max(x_at(x), 30.0), WIDTH - 30.0), y_at(y))
    parts += [text(x, y, short(group), "middle", "group") for group, (x, y) in apart(middles).items()]
    return svg(height, label, parts)


def apart(places: dict[str, tuple[float, float]], height: float = 10.0) -> dict[str, tuple[float, float]]:
    """Labels by their middle, from the top each moved down until it lies on none that was placed before."""
    placed: dict[str, tuple[float, float]] = {}
    for name, (x, y) in sorted(places.items(), key=lambda item: item[1][1]):
        for other, (left, top) in sorted(placed.items(), key=lambda item: item[1][1]):
            touching = abs(x - left) < 3.2 * (len(short(name)) + len(short(other)))
            if touching and abs(y - top) < height:
                y = top + height
        placed[name] = (x, y)
    return placed
