"""Figures as people read them."""

from typing import Any

NONE = "\N{EN DASH}"  # where there is no figure


def percent(value: float | None, digits: int = 1) -> str:
    """A percentage that is already times 100."""
    return NONE if value is None else f"{value:.{digits}f}\N{NO-BREAK SPACE}%"


def plain(value: float | None) -> str:
    """A figure with one digit, for a table whose head has the unit."""
    return NONE if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """A difference in points, with a real minus."""
    return NONE if value is None else f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def count(number: float, one: str, many: str = "") -> str:
    """``1 class``, ``3 classes``, ``12,345 images``."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """``0.4 s``, ``2 min 10 s``, ``3 h 4 min``."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def big(value: float) -> str:
    """``71 M``, ``1.3 G``, ``820 k``."""
    for power, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {letter}"
    return f"{value:.0f}"


def listed(names: list[str], most: int = 12) -> str:
    """Names in a row; of many the first, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def table(label: str, head: list[str], rows: list[list[Any]], *, total: bool = False) -> dict[str, Any]:
    """What the page's template takes for a table; with ``total`` the last row stands out."""
    return {"label": label, "head": head, "rows": rows, "total": total}
