"""Pictures of a few-shot evaluation: accuracy against shots, and where two students put the test images."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from promptstill.artifacts import write_atomic

COLOURS = {"distilled": "#1f6feb", "not distilled": "#b35900"}


def draw_curves(path: Any, shots: Mapping[int, Mapping[str, Mapping[str, float]]], title: str) -> None:
    """Mean accuracy with one standard deviation over seeds, by shots a class; a PNG."""
    figure, axes = _figure(1)
    counts = list(shots)
    for who, colour in COLOURS.items():
        means = np.array([shots[count][who]["mean"] for count in counts])
        around = np.array([shots[count][who]["sd"] for count in counts])
        axes[0].plot(counts, means, marker="o", color=colour, label=who)
        axes[0].fill_between(counts, means - around, means + around, color=colour, alpha=0.2, linewidth=0)
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(counts, [str(count) for count in counts])
    axes[0].set(xlabel="labelled images a class", ylabel="accuracy, %", title=title)
    axes[0].legend(frameon=False)
    _save(figure, path)


def draw_maps(path: Any, maps: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
    """t-SNE of the test images by class, one panel a student, each class named at its middle; a PNG.

    ``maps`` has points, their classes (``labels``) and figures of each student.
    """
    figure, axes = _figure(len(maps))
    for place, (who, made) in zip(axes, maps.items(), strict=True):
        points, labels = np.array(made["points"]), np.array(made["labels"])
        place.scatter(*points.T, c=labels % 20, cmap="tab20", s=8, linewidths=0)
        for number in np.unique(labels):
            middle = np.median(points[labels == number], axis=0)
            place.text(*middle, names[number], fontsize=8, ha="center", va="center", path_effects=[_halo()])
        apart = "" if made["silhouette"] is None else f"silhouette {made['silhouette']:.2f}, "
        place.set(title=f"{who}: {apart}k-NN {made['knn']:.0f} %", xticks=[], yticks=[])
    _save(figure, path)


def _halo() -> Any:
    """A white rim that keeps letters readable on dots."""
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=2.5, foreground="white")


def _figure(panels: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * panels, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, panels, squeeze=False)[0]


def _save(figure: Any, path: Any) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomic(path, buffer.getvalue())
