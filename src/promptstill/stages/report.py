"""What a run says at its end: ``report.json``, a table on the screen, and the bundle's model card."""

import importlib.metadata
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from promptstill.artifacts import Report, write_atomic
from promptstill.data.predictions import Predictions
from promptstill.models.bundle import Bundle
from promptstill.models.clip import Clip
from promptstill.ops.calibration import calibration_error, reliability
from promptstill.ops.cost import cost
from promptstill.pages.card import card

PACKAGES = ("promptstill", "torch", "open_clip_torch", "timm", "diffusers", "kornia", "numpy")


def make_report(
    bundle: Bundle,
    teacher: Clip,
    evaluation: dict[str, Any] | None,
    asked: dict[str, Any],
    stages: dict[str, Any],
    folder: Path,
) -> Report:
    """Gather what was asked, what came out, what it cost and how to recompute it.

    ``asked`` holds the pipeline's name, settings and strictness, ``stages`` each stage's notes; ``folder`` is the
    bundle.
    """
    student = cost(bundle.student, bundle.student.architecture.preprocess.size)
    student["megabytes"] = round((folder / "model.safetensors").stat().st_size / 1e6, 3)
    tower = cost(teacher.visual, teacher.preprocess.size)
    content = {
        **asked,
        "classes": bundle.vectors.names,
        "evaluation": evaluation,
        "cost": {"teacher": tower | {"megabytes": round(4e-6 * tower["parameters"], 3)}, "student": student},
        "stages": stages,
        "training": bundle.config["training"],
        "student_input": bundle.student.architecture.preprocess.size,
        "backbone": bundle.student.architecture.weights,
        "selected_on_test_data": bundle.config["training"].get("selected_on_test_data", False),
        "teacher_hash": teacher.hash,
        "student_sha256": bundle.config["sha256"]["model.safetensors"],
        "versions": versions(),
    }
    return Report(content)


def calibration(predictions: Predictions) -> dict[str, Any]:
    """Reliability and expected calibration error of teacher and student by name."""
    found: dict[str, Any] = {}
    for who, said in predictions.answers.items():
        bins = reliability(said.confidence, said.best == predictions.labels)
        ece = calibration_error(bins)
        found[who] = {"ece": round(ece, 5), "n": len(predictions), "bins": [asdict(each) for each in bins]}
    return found


def work(content: dict[str, Any]) -> dict[str, float]:
    """About how many multiply-accumulates of the image towers each stage took; a training step is three passes."""
    settings, stages = content["settings"], content["stages"]
    teacher, student = (content["cost"][who]["macs"] for who in ("teacher", "student"))
    images, lesson = stages["4-student"]["images"], settings["distill"]
    epochs = lesson["epochs"] + lesson["warm_epochs"]
    looks = lesson["views"] if settings["teacher_mode"] == "store" else epochs
    passes = lesson["views"] if lesson["train"] == "projector" else 3 * lesson["epochs"] + lesson["warm_epochs"]
    spent = {"4-student": float(images * (looks * teacher + passes * student))}
    if "2-prompts" in stages and not settings["generator"].startswith("diffusers:"):  # that one asks no teacher
        made = stages["3-images"]
        painted = made["images"] + sum(made["dropped"].values())
        spent["3-images"] = 3.0 * painted * made["mean_steps"] * settings["synthesize"]["cutouts"] * teacher
    return spent


def versions() -> dict[str, str]:
    """Versions of what computed the numbers, and the machine."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return found | {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def show(report: Report, console: Console | None = None) -> None:
    """Print the report's tables."""
    console, content = console or Console(), report.content
    if content["evaluation"]:
        console.print(accuracy_table(content["evaluation"]))
    table = Table("", title="cost of one image", title_justify="left")
    for name in ("parameters", "MACs", "latency", "size"):
        table.add_column(name, justify="right")
    for who, row in content["cost"].items():
        million = f"{row['parameters'] / 1e6:.2f} M", f"{row['macs'] / 1e6:.1f} M"
        table.add_row(who, *million, f"{row['latency_ms']:.2f} ms", f"{row['megabytes']:.2f} MB")
    console.print(table)
    spent = Table("stage", title="spent", title_justify="left")
    for name in ("seconds", "images"):
        spent.add_column(name, justify="right")
    for name, notes in content["stages"].items():
        spent.add_row(name, f"{notes['seconds']:.1f}", str(notes.get("images", "")))
    console.print(spent)


def accuracy_table(evaluation: dict[str, Any]) -> Table:
    """Teacher and student by domain; macro accuracy in brackets."""
    title = f"accuracy in % on {evaluation['benchmark']}"
    caption = f"over images (over classes)\n{evaluation['classes']} classes, chance {evaluation['chance']:.1f} %"
    if evaluation.get("not_tested"):
        caption += f"\nno picture of {', '.join(evaluation['not_tested'])}"
    columns = [who for who in ("teacher", "student") if who in evaluation["mean"]]
    table = Table("domain", title=title, caption=caption, title_justify="left", caption_justify="left")
    for name in (*columns, "images"):
        table.add_column(name, justify="right")

    def cells(row: dict[str, float]) -> list[str]:
        return [f"{row[who]:.1f} ({row[who + '_macro']:.1f})" for who in columns]

    for name, row in sorted(evaluation["domains"].items()):
        table.add_row(name, *cells(row), str(row["n"]))
    table.add_row("mean", *cells(evaluation["mean"]), "", style="bold")
    return table


def write_card(report: Report, folder: Path) -> None:
    """The bundle's README.md."""
    write_atomic(folder / "README.md", card(report.content))


def summary(report: Report, out: Path) -> str:
    """What was made, how good it is, how to use it: a line each, and one more if pictures were left out."""
    content = report.content
    student, teacher = content["cost"]["student"], content["cost"]["teacher"]
    smaller = teacher["macs"] / max(student["macs"], 1)
    made = (
        f"Made {out / '4-student'}: a {student['megabytes']:.1f} MB classifier of {len(content['classes'])} classes, "
        f"{smaller:.1f}x fewer MACs than its teacher {content['teacher']}."
    )
    evaluation = content["evaluation"]
    good = f"It was not measured: promptstill evaluate {out} --benchmark URI."
    if evaluation:
        mean = evaluation["mean"]
        good = (
            f"On {evaluation['benchmark']} the teacher has {mean['teacher']:.1f} % and the student "
            f"{mean['student']:.1f} % (mean over domains, chance {evaluation['chance']:.1f} %)."
        )
    lines = [made, good, f"Use it: promptstill predict {out} PICTURE..."]
    if left := content["stages"].get("3-images", {}).get("rejected"):
        lines.insert(1, f"{left} pictures could not be used; {out / '3-images' / 'index.jsonl'} says why.")
    return "\n".join(lines)
