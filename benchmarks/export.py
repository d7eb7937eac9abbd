"""Every export format of several students: gates, size, and latency against eager PyTorch in the same process.

python benchmarks/export.py [--run RUN ...]

Runs given with ``--run`` are distilled students: they are measured on the benchmark of their run, INT8 calibrated on
the run's own images. Without one, students before any distillation show agreement, size and latency alone.
One thread for both; the best of repeated runs, taken in turns.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from promptstill.data.benchmarks import open_unlabeled
from promptstill.errors import DataError
from promptstill.exporting import Export
from promptstill.models.bundle import Bundle, load_bundle, save_bundle
from promptstill.models.clip import load_clip
from promptstill.models.student import make_student
from promptstill.pipelines.export import run as export_run
from promptstill.settings import Vectors
from promptstill.stages.export import GATES, Group, export, spread
from promptstill.stages.page import Page
from promptstill.stages.teach import class_vectors
from record import record

STUDENTS = ("nano-student", "prompted:nano-student", "timm:test_vit", "timm:test_byobnet")
CLASSES = ("dog", "cat", "house", "car", "bird", "fish", "tree", "umbrella", "camera", "bus")


def untrained(uri: str, folder: Path) -> Bundle:
    """A student as it begins, with the statistics of a few random images."""
    teacher = load_clip("nano")
    student = make_student(uri, teacher, None, None, 0).train()
    side = student.architecture.preprocess.size
    student(torch.rand(16, 3, side, side, generator=torch.Generator().manual_seed(0)))
    folder.mkdir()
    save_bundle(student.eval(), class_vectors(teacher, CLASSES, Vectors()), {}, folder)
    return load_bundle(folder)


def one(call: Any) -> dict[str, Any]:
    """The figures of an export, or why it was refused."""
    try:
        return call()
    except DataError as error:
        return {"refused": str(error)}


def before_distillation(uri: str, root: Path) -> dict[str, Any]:
    """All formats of an untrained student, compared on unlabeled pictograms."""
    folder = root / uri.replace(":", "-")
    bundle = untrained(uri, folder)
    images = open_unlabeled("pictograms")
    groups = [Group("pictograms, unlabeled", spread(images, 200))]
    rows = {}
    for kind in GATES:
        settings = Export.model_validate({"format": kind, "out": folder / kind})
        extra = (lambda part: Page().write(bundle, part)) if kind == "web" else None
        rows[kind] = one(lambda s=settings, e=extra: export(bundle, s, groups, images, e))
        print(uri, kind, rows[kind], flush=True)
    return rows


def of_run(run: Path, root: Path) -> dict[str, Any]:
    """All formats of a distilled student, INT8 with 8-bit activations and with the choice left to the gate."""
    rows = {}
    for kind, bits in (*((kind, None) for kind in GATES), ("onnx-int8", 8)):
        name = f"{kind}, activations={bits}" if bits else kind
        settings = Export.model_validate({"format": kind, "out": root / f"{kind}-{bits}", "activations": bits})
        rows[name] = one(lambda s=settings: export_run(run, s))
        print(run.name, name, rows[name], flush=True)
    return rows


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, action="append", default=[])
    runs = parser.parse_args().run
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = {uri: before_distillation(uri, root) for uri in STUDENTS}
        for number, run in enumerate(runs):
            figures[f"run {run.name}"] = of_run(run, root / str(number))
    record("export", {"gates": GATES, "students": figures})


if __name__ == "__main__":
    main()
