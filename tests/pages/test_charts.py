"""Charts are well-formed pictures with a text alternative; what users name cannot break out of them."""

import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from promptstill.pages import charts
from promptstill.pages.charts import Curve
from promptstill.pages.svg import WIDTH, Scale, marker

EVIL = '</text><script>alert("x")</script>&amp;'
NAMES = [EVIL, "dog", "a very long name of a class indeed"]
CURVES = [Curve(EVIL, 0, [(0.1, 0.2), (0.9, 0.7)]), Curve("b", 7, [(1.0, 0.5)])]

CHARTS: dict[str, Callable[[], str]] = {
    "dots": lambda: charts.dots([(EVIL, [10, 90.5]), ("dog", [None, 3]), ("none", [None, None])], NAMES[:2], EVIL, 50),
    "bars": lambda: charts.bars([(EVIL, 0.0, 100.0), ("dog", 33.3, None)], EVIL),
    "few": lambda: charts.heat(NAMES, np.array([[3, 1, 0], [0, 0, 0], [0, 9, 1]]), EVIL),
    "many": lambda: charts.heat([f"class {i}" for i in range(30)], np.eye(30, dtype=int), EVIL),
    "curves": lambda: charts.curves(CURVES, ("epoch", EVIL), EVIL),
    "square": lambda: charts.curves(CURVES, ("confidence", "right"), EVIL, unit_square=True),
    "empty": lambda: charts.curves([], ("epoch", ""), EVIL),
    "scatter": lambda: charts.scatter(np.array([[0.0, 1], [2, 3], [2, 3]]), NAMES, [True, False, True], EVIL),
}


@pytest.mark.parametrize("kind", CHARTS)
def test_a_chart_is_well_formed_and_told_in_words(kind: str) -> None:
    drawn = CHARTS[kind]()
    root = ElementTree.fromstring(drawn)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == EVIL
    assert "<script" not in drawn
    assert not re.search(r"\b(nan|inf)\b", drawn)


@pytest.mark.parametrize("kind", CHARTS)
def test_nothing_is_drawn_outside(kind: str) -> None:
    root = ElementTree.fromstring(CHARTS[kind]())
    height = float(root.attrib["viewBox"].split()[3])
    for node in root.iter():
        for name, most in (("x", WIDTH), ("x1", WIDTH), ("x2", WIDTH), ("y", height), ("y1", height), ("y2", height)):
            assert -10 <= float(node.attrib.get(name, 0)) <= most + 1, (node.tag, name)


def test_neighbouring_series_differ_in_shape_and_not_by_colour_alone() -> None:
    shapes = [re.search(r' d="([^"]+)"', marker(number, 0, 0)) for number in range(5)]
    assert len({shape[1] for shape in shapes if shape}) == 5


def test_labels_are_moved_off_each_other() -> None:
    places = charts.apart({"dog": (50, 20), "cat": (52, 21), "bus": (55, 29), "far": (300, 20)})
    assert places["dog"] == (50, 20)
    assert places["far"] == (300, 20)
    lines = sorted(places[name][1] for name in ("dog", "cat", "bus"))
    assert [round(b - a, 6) >= 10 for a, b in pairwise(lines)] == [True, True]


def test_a_scale_goes_from_end_to_end() -> None:
    scale = Scale(10, 20, 100, 0)
    assert [scale(value) for value in (10, 15, 20)] == [100, 50, 0]
    assert Scale(3, 3, 0, 9)(3) == 0
