"""The few SVG elements that our charts need, as escaped text. Colours and type stand in the page's style sheet."""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 360  # of every chart in its own units: a phone shows it at nearly 1:1, so its text stays readable

Attribute = str | float | int


def tag(name: str, *content: str, **attributes: Attribute) -> Markup:
    """One element. ``class_`` is written class, ``stroke_width`` stroke-width; text and values are escaped."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{Markup('').join(content)}</{name}>")


def _value(value: Attribute) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(escape(value))


def svg(height: float, label: str, parts: Iterable[str], width: float = WIDTH) -> Markup:
    """A whole picture with its text alternative."""
    return tag("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label)


def text(x: float, y: float, content: object, anchor: str = "start", class_: str = "") -> Markup:
    """A line of text; ``y`` is its middle."""
    return tag("text", escape(content), x=x, y=y, text_anchor=anchor, dominant_baseline="central", class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, *, title: str = "", **more: Attribute) -> Markup:
    """A rectangle; ``title`` is told when one points at it."""
    return tag("rect", *_title(title), x=x, y=y, width=max(width, 0.0), height=height, class_=class_, **more)


def marker(series: int, x: float, y: float, title: str = "", size: float = 5.0) -> Markup:
    """The mark of a series: its shape tells it apart as well as its colour does."""
    s, r, w = size, round(0.9 * size, 2), round(0.8 * size, 2)
    shapes = (
        f"M0,{-s:g} L{s:g},0 L0,{s:g} L{-s:g},0 Z",
        f"M{-r:g},0 a{r:g},{r:g} 0 1,0 {2 * r:g},0 a{r:g},{r:g} 0 1,0 {-2 * r:g},0 Z",
        f"M{-w:g},{-w:g} h{2 * w:g} v{2 * w:g} h{-2 * w:g} Z",
        f"M0,{-s:g} L{s:g},{w:g} L{-s:g},{w:g} Z",
        f"M0,{s:g} L{s:g},{-w:g} L{-s:g},{-w:g} Z",
    )
    shape = shapes[0] if series == 0 else shapes[1 + (series - 1) % (len(shapes) - 1)]
    return tag(
        "path", *_title(title), d=shape, transform=f"translate({x:.1f},{y:.1f})", class_=f"mark {colour(series)}"
    )


def colour(series: int) -> str:
    """The style class of a series: s0 is the teacher, s1 to s5 the students, over and over."""
    return "s0" if series == 0 else f"s{1 + (series - 1) % 5}"


def _title(content: str) -> tuple[Markup, ...]:
    return (tag("title", escape(content)),) if content else ()


@dataclass(frozen=True)
class Scale:
    """From values to places: ``low`` lies at ``start``, ``high`` at ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.stop - self.start)
