"""The end of both stories: measure the student, write the report, its page and the bundle's model card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptstill.artifacts import Prompts, Report, write_atomic, write_json
from promptstill.data.benchmarks import load_benchmark
from promptstill.data.finished import PICTURES, read_run
from promptstill.data.images import Images
from promptstill.data.sets.base import key
from promptstill.errors import UsageError
from promptstill.models.bundle import Bundle
from promptstill.models.licences import data_licence, model_licence
from promptstill.pages.report import render
from promptstill.pipelines.frame import Frame
from promptstill.stages.evaluate import Measured, evaluate, measure
from promptstill.stages.illustrate import feature_map, mistakes, sheet
from promptstill.stages.report import calibration, make_report, work, write_card
from promptstill.stages.teach import class_vectors

PAGE = "index.html"


@dataclass(frozen=True)
class Origin:
    """Where a student's pictures came from, for its report; ``strictness`` says what was seen of real ones."""

    pipeline: str
    strictness: str
    images: Images
    prompts: Prompts | None = None
    generator_hash: str | None = None


def report(frame: Frame, bundle: Bundle, origin: Origin) -> Report:
    """``5-report``, and the bundle's model card."""

    def make(folder: Path) -> None:
        chosen, shipped = frame.settings.evaluate, frame.run.folder / "4-student"
        frame.stopper.check()
        measured = measure(bundle, frame.teacher, frame.benchmark, chosen) if frame.benchmark is not None else None
        frame.stopper.check()
        asked = _asked(frame, origin) | {"other_classes": _other_classes(frame, bundle)}
        if measured:
            measured.predictions.save(folder)
            asked["calibration"] = calibration(measured.predictions)
        frame.stopper.check()
        figures, notes = measured.figures if measured else None, frame.run.notes()
        made = make_report(bundle, frame.teacher, figures, asked, notes, shipped)
        made.content["macs"] = work(made.content)
        write_json(folder / PICTURES, _pictures(frame, bundle, origin, measured))
        write_card(made, shipped)
        made.save(folder)
        write_atomic(folder / PAGE, render([read_run(frame.run.folder)]))

    return frame.run.once("5-report", make, Report.load)


def _asked(frame: Frame, origin: Origin) -> dict[str, Any]:
    settings = frame.settings.model_dump(mode="json")
    asked = {name: settings[name] for name in ("teacher", "student", "seed")}
    licences = {
        "teacher": model_licence(settings["teacher"]),
        "student's first weights": model_licence(settings["student"]),
    }
    if "generator" in settings:
        licences["generator"] = model_licence(settings["generator"])
    if "images" in settings:
        licences["unlabeled images"] = data_licence(settings["images"])
    if settings["benchmark"]:
        licences["benchmark"] = data_licence(settings["benchmark"])
    about = {"pipeline": origin.pipeline, "strictness": origin.strictness, "generator_hash": origin.generator_hash}
    return asked | about | {"settings": settings, "licences": licences}


def _other_classes(frame: Frame, bundle: Bundle) -> dict[str, Any] | None:
    """The student on the classes of the benchmark that it was not taught, through their vectors, beside the teacher."""
    asked = frame.settings.benchmark and frame.settings.evaluate.other_classes
    if not asked or bundle.student.architecture.head is not None:  # a head knows its own classes only
        return None
    whole = load_benchmark(str(frame.settings.benchmark))
    known = {key(name) for name in bundle.vectors.names}
    names = tuple(name for name in whole.classes if key(name) not in known)
    if len(names) < 2:
        return None
    vectors = class_vectors(frame.teacher, names, frame.settings.vectors)
    return evaluate(bundle.of(vectors), frame.teacher, whole, frame.settings.evaluate)


def _pictures(frame: Frame, bundle: Bundle, origin: Origin, measured: Measured | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"sheet": sheet(origin.images, origin.prompts, frame.teacher, bundle.vectors)}
    if measured and frame.benchmark is not None:
        shown["mistakes"] = mistakes(measured.predictions, frame.benchmark)
        shown["map"] = feature_map(measured.features, frame.settings.seed)
    return shown


def write_page(runs: Sequence[Path], out: Path | None = None) -> Path:
    """The page of one finished run (in its own folder unless ``out`` is given) or of several side by side.

    Raises:
        DataError: a folder holds no finished run. UsageError: the file cannot be written.
    """
    finished = [read_run(run) for run in runs]
    path = out or (runs[0] / "5-report" / PAGE if len(runs) == 1 else Path("comparison.html"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, render(finished))
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); choose another --out") from None
    return path
