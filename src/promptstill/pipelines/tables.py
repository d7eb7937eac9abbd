"""The papers' tables from our figures, with the papers' numbers beside them; Markdown."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from promptstill.data.published import BASE_TO_NOVEL, DATA_FREE, TRANSFER
from promptstill.ops.metrics import harmonic_mean, spread

Rows = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]  # set, seed, who, figure
HALVES = ("base", "novel", "hm")


def gathered(rows: Rows) -> dict[str, Any]:
    """By set and who: every figure's mean and standard deviation over seeds, and each seed's value."""
    found: dict[str, Any] = {}
    for title, seeds in rows.items():
        first = next(iter(seeds.values()))
        found[title] = {
            who: {figure: _over_seeds([seed[who][figure] for seed in seeds.values()]) for figure in figures}
            for who, figures in first.items()
        }
    return found


def _over_seeds(values: list[float]) -> dict[str, Any]:
    return {name: round(value, 3) for name, value in spread(values).items()} | {"each": [round(v, 3) for v in values]}


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table."""
    return "".join("| " + " | ".join(line) + " |\n" for line in [head, ["---"] * len(head), *body])


def base_to_novel_table(result: Mapping[str, Any]) -> str:
    """Base / novel / HM by data set, over seeds; the average's HM is that of the averages, as in the paper."""
    sets, body = result["sets"], list[list[str]]()
    whos = [who for who in ("student zero-shot", "teacher", "student") if who in next(iter(sets.values()))]
    for title, rows in sets.items():
        paper = BASE_TO_NOVEL.get(title, {})
        line = [title, *(_triple([rows[who][half]["mean"] for half in HALVES]) for who in whos)]
        line += [f"{rows['student']['hm']['sd']:.2f}", f"{rows['student']['joint']['mean']:.2f}"]
        body.append([*line, *(_triple(paper.get(who)) for who in ("teacher", "student"))])
    if len(sets) > 1:
        body.append(["**average**", *(_triple(_average(sets, who)) for who in whos), "", "", "", ""])
    head = ["base / novel / HM", *whos, "sd of HM", "student, joint", "paper's teacher", "paper's student"]
    return markdown(head, body) + _notes(result)


def transfer_table(result: Mapping[str, Any]) -> str:
    """Accuracy over all classes by target."""
    sets, body = result["sets"], list[list[str]]()
    whos = [who for who in ("student zero-shot", "teacher", "student") if who in next(iter(sets.values()))]
    for title, rows in sets.items():
        paper = TRANSFER.get(title, {})
        ours = [f"{rows[who]['accuracy']['mean']:.2f}" for who in whos]
        theirs = [f"{paper[who]:.2f}" if who in paper else "" for who in ("teacher", "student")]
        body.append([title, *ours, f"{rows['student']['accuracy']['sd']:.2f}", *theirs])
    if len(sets) > 1:
        means = [statistics.fmean(rows[who]["accuracy"]["mean"] for rows in sets.values()) for who in whos]
        body.append(["**average**", *(f"{value:.2f}" for value in means), "", "", ""])
    return markdown(["accuracy", *whos, "sd", "paper's teacher", "paper's student"], body) + _notes(result)


def data_free_table(result: Mapping[str, Any]) -> str:
    """Accuracy by domain, a table for each data set: the teacher's zero-shot, the strategies, and the paper's rows.

    Micro accuracy over images; of VisDA-2017 macro, the mean recall of the classes, as in the paper.
    """
    parts: list[str] = []
    for title, rows in result["sets"].items():
        order = list(DATA_FREE.get(title, {}).get("teacher", ()))
        domains = [name for name in next(iter(rows.values())) if name != "mean"]
        domains.sort(key=lambda name, order=order: order.index(name) if name in order else len(order))
        kind = "macro" if title == "VisDA-2017" else "micro"
        body: list[list[str]] = []
        for who, figures in rows.items():
            cells = [f"{figures[name][kind]['mean']:.2f}" for name in (*domains, "mean")]
            body.append([who, *cells, f"{figures['mean'][kind]['sd']:.2f}"])
        for who, figures in DATA_FREE.get(title, {}).items():
            cells = [f"{figures[name]:.2f}" if name in figures else "" for name in (*domains, "mean")]
            body.append([f"paper: {who}", *cells, ""])
        parts.append(markdown([f"{title}, {kind}", *domains, "mean", "sd"], body))
    asked = result["settings"]
    told = (
        f"Teacher {asked['teacher']}; student {asked['student']}; seeds {asked['seeds']}, one set of images a strategy."
    )
    return "\n".join([*parts, told]) + "\n"


def _triple(values: Any) -> str:
    return " / ".join(f"{value:.2f}" for value in values) if values else ""


def _average(sets: Mapping[str, Any], who: str) -> list[float]:
    base, novel = (statistics.fmean(rows[who][half]["mean"] for rows in sets.values()) for half in ("base", "novel"))
    return [base, novel, harmonic_mean(base, novel)]


def _notes(result: Mapping[str, Any]) -> str:
    asked = result["settings"]
    shots = f"{asked['shots']} shots" if asked["shots"] else "no shots"
    told = [f"Teacher {asked['teacher']}, {shots}; student {asked['student']}; seeds {asked['seeds']}."]
    if result["adapted_to_test_images"]:
        told.append(f"Adapted to the test images, unlabeled: {', '.join(result['adapted_to_test_images'])}.")
    if result["selected_on_test_data"]:
        told.append("The epoch was selected on test images, as in the paper: no honest figure.")
    return "\n" + " ".join(told) + "\n"


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "base-to-novel": base_to_novel_table,
    "transfer": transfer_table,
}
