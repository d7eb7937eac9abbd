"""The sections of the report page that show how good a student is: charts and tables from a run's figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from promptstill.data.finished import Finished
from promptstill.data.predictions import Predictions
from promptstill.pages.charts import Curve, bars, curves, dots, heat, scatter
from promptstill.pages.svg import marker, tag
from promptstill.pages.words import count, percent, plain, signed, table

MOST_CLASSES = 40  # rows of a chart by class
Section = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A run on the page: its number from 1 gives its mark and colour."""

    run: Finished
    name: str
    number: int

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """Its figures on the benchmark."""
        return self.run.report["evaluation"]

    def facts(self) -> Section:
        """Name and mark for the head of its part of a section."""
        return {"name": self.name, "mark": swatch(self.number)}


def swatch(number: int) -> Markup:
    """The mark of a series for a legend."""
    one = tag("svg", marker(number, 6, 6), viewBox="0 0 12 12", class_="swatch", aria_hidden="true")
    return Markup(one)


def series(names: Sequence[str], first: int = 0) -> list[Section]:
    """Legend entries; number 0 is the teacher."""
    return [{"name": name, "mark": swatch(first + at)} for at, name in enumerate(names)]


def domains(shown: Sequence[Shown]) -> Section | None:
    """Teacher against student by domain, with the gap."""
    measured = [each for each in shown if each.evaluation]
    if not measured:
        return None
    first = measured[0].evaluation or {}
    same = [each for each in measured if (each.evaluation or {})["benchmark"] == first["benchmark"]]
    students = [each.name if len(shown) > 1 else "student" for each in same]
    rows = [(name, _row([(each.evaluation or {})["domains"].get(name) for each in same])) for name in first["domains"]]
    rows.append(("mean", _row([(each.evaluation or {})["mean"] for each in same])))
    number = count(first["classes"], "class", "classes")
    note = (
        f"Accuracy in per cent on {first['benchmark']}, {number}; the dashed line is chance "
        f"({percent(first['chance'])}). Both are scored with the same class vectors on the same pictures."
    )
    names = ["teacher", *students]
    label = "Accuracy in per cent by domain: " + _told(names, rows[-1][1])
    return {
        "note": note,
        "series": series(names),
        "chart": dots(rows, names, label, first["chance"]),
        "table": _domain_table(names, rows, first),
    }


def _row(found: Sequence[dict[str, Any] | None]) -> list[float | None]:
    """The (first) teacher's accuracy, then each student's."""
    teacher = next((row["teacher"] for row in found if row and "teacher" in row), None)
    return [teacher, *(row["student"] if row else None for row in found)]


def _told(names: Sequence[str], values: Sequence[float | None]) -> str:
    return "on the mean " + ", ".join(f"{name} {percent(value)}" for name, value in zip(names, values, strict=True))


def _domain_table(names: list[str], rows: list[tuple[str, list[float | None]]], first: dict[str, Any]) -> Section:
    single = len(names) == 2
    lines: list[list[str]] = []
    for name, values in rows:
        gap = values[1] - values[0] if single and values[0] is not None and values[1] is not None else None
        images = first["domains"][name]["n"] if name in first["domains"] else ""
        lines.append([name, *(plain(v) for v in values), *([signed(gap)] if single else []), str(images)])
    head = ["domain", *names, *(["gap"] if single else []), "images"]
    return table("Accuracy in per cent by domain", head, lines, total=True)


def other_classes(shown: Sequence[Shown]) -> Section | None:
    """Re-targeting: teacher against student on the benchmark's other classes."""
    parts: list[Section] = []
    for each in shown:
        found = each.run.report.get("other_classes")
        if found:
            rows = [(name, _row([row])) for name, row in (found["domains"] | {"mean": found["mean"]}).items()]
            names = ["teacher", "student"]
            label = f"Accuracy on {found['classes']} other classes by domain: {_told(names, rows[-1][1])}"
            chart, figures = dots(rows, names, label, found["chance"]), _domain_table(names, rows, found)
            parts.append(each.facts() | {"series": series(names), "chart": chart, "table": figures, "found": found})
    if not parts:
        return None
    first = parts[0]["found"]
    note = (
        f"The same student, given class vectors of the benchmark's {first['classes']} other classes without any "
        f"training, beside the teacher on them (chance {percent(first['chance'])}). This is what retarget() gives."
    )
    return {"note": note, "runs": parts}


def confusion_counts(given: Predictions) -> np.ndarray:
    """Test pictures (K, K) by true class and the student's answer."""
    counts = np.zeros((len(given.names),) * 2, dtype=int)
    np.add.at(counts, (given.labels, given.answers["student"].best), 1)
    return counts


def classes(each: Shown, given: Predictions) -> Section:
    """A bar for each class, the worst first."""
    counts = confusion_counts(given)
    seen = np.flatnonzero(counts.sum(1))
    right = 100 * counts.diagonal()[seen] / counts.sum(1)[seen]
    teacher = given.answers.get("teacher")
    rows: list[tuple[str, float, float | None]] = []
    for k, value in sorted(zip(seen.tolist(), right.tolist(), strict=True), key=lambda pair: pair[1]):
        other = 100 * float((teacher.best == k)[given.labels == k].mean()) if teacher else None
        rows.append((given.names[k], value, other))
    shown, note = rows, ""
    if len(rows) > MOST_CLASSES:
        shown, note = rows[:MOST_CLASSES], f"The worst {MOST_CLASSES} of {len(rows)} classes."
    label = f"Accuracy by class: from {rows[0][0]} with {rows[0][1]:.0f} % to {rows[-1][0]} with {rows[-1][1]:.0f} %"
    chart = bars(shown, label, each.number)
    return each.facts() | {"chart": chart, "note": note}


def _taken_for(names: Sequence[str], counts: np.ndarray, most: int = 8) -> Section:
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(at, wrong.shape) for at in order]
    rows = [[names[i], names[j], f"{wrong[i, j]} of {counts[i].sum()}"] for i, j in pairs if wrong[i, j]]
    return table("Most frequent confusions", ["shows", "was called", "pictures"], rows)


def confusion(each: Shown, given: Predictions) -> Section:
    """The confusion matrix, of many classes those that are confused most, and the most frequent confusions."""
    counts, note = confusion_counts(given), ""
    keep = np.arange(len(counts))
    if len(counts) > MOST_CLASSES:
        wrong = counts.sum(1) - counts.diagonal()
        keep = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        note = f"The {MOST_CLASSES} classes with the most mistakes, of {len(counts)}."
    names = [given.names[k] for k in keep]
    right, total = int(counts.diagonal().sum()), int(counts.sum())
    label = f"Confusion of {len(names)} classes: {right} of {total} test pictures are on the diagonal"
    chart = heat(names, counts[np.ix_(keep, keep)], label)
    return each.facts() | {"chart": chart, "note": note, "table": _taken_for(given.names, counts)}


def calibration(shown: Sequence[Shown]) -> Section | None:
    """Reliability curves and the expected calibration error."""
    given, rows = [], []
    known = [(each, each.run.report.get("calibration")) for each in shown]
    for each, found in known:
        for who, figures in (found or {}).items():
            if who == "teacher" and any(curve.number == 0 for curve in given):
                continue  # the first run's teacher stands for all
            number = 0 if who == "teacher" else each.number
            name = each.name if len(shown) > 1 and number else who
            given.append(Curve(name, number, [(b["confidence"], b["accuracy"]) for b in figures["bins"]]))
            means = [
                sum(b[key] * b["count"] for b in figures["bins"]) / figures["n"] for key in ("confidence", "accuracy")
            ]
            rows.append([name, percent(100 * figures["ece"]), *(percent(100 * mean) for mean in means)])
    if not given:
        return None
    given.sort(key=lambda curve: curve.number)
    rows.sort(key=lambda row: row[0] != "teacher")
    label = "Share of right answers by confidence: " + ", ".join(
        f"{r[0]} has a calibration error of {r[1]}" for r in rows
    )
    note = (
        "Each mark gathers the pictures of one tenth of confidence. On the dashed diagonal an answer given with 80 % "
        "confidence is right in 80 % of cases; below it the model promises too much. ECE is the mean distance."
    )
    return {
        "note": note,
        "series": [{"name": curve.name, "mark": swatch(curve.number)} for curve in given],
        "chart": curves(given, ("confidence", "right"), label, unit_square=True),
        "table": table("Calibration", ["model", "ECE", "mean confidence", "right, all pictures"], rows),
    }


def feature_map(each: Shown) -> Section | None:
    """t-SNE of the student's embeddings of test pictures."""
    given, found = each.run.predictions, each.run.pictures.get("map")
    if given is None or not found:
        return None
    rows = np.array(found["rows"])
    groups = [given.names[k] for k in given.labels[rows]]
    right = (given.answers["student"].best == given.labels)[rows].tolist()
    label = f"t-SNE of {len(rows)} test pictures of {len(set(groups))} classes, {sum(right)} of them named rightly"
    return each.facts() | {"chart": scatter(np.array(found["points"]), groups, right, label)}


def training(shown: Sequence[Shown]) -> Section | None:
    """A small chart for each quantity that training noted by epoch."""
    by_name: dict[str, list[Curve]] = {}
    for each in shown:
        rows = [row for row in each.run.metrics if row.get("stage") == "distill" and "epoch" in row]
        for key in [key for key in (rows[-1] if rows else {}) if key not in ("time", "stage", "epoch")]:
            points = [(float(row["epoch"]), float(row[key])) for row in rows if isinstance(row.get(key), int | float)]
            if points:
                by_name.setdefault(key, []).append(Curve(each.name, each.number, points))
    titles = {"kl": "KL to soft labels", "feature": "distance to embeddings", "agreement": "agreement with the teacher"}
    charts: list[Section] = []
    for name, given in sorted(by_name.items(), key=lambda item: item[0] != "loss"):
        ends = ", ".join(f"{c.name} from {c.points[0][1]:.3g} to {c.points[-1][1]:.3g}" for c in given)
        chart = curves(given, ("epoch", ""), f"{titles.get(name, name)} by epoch: {ends}")
        charts.append({"name": titles.get(name, name), "chart": chart})
    return {"series": [each.facts() for each in shown], "charts": charts} if charts else None
