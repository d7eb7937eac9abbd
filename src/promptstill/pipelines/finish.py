"""The end of both stories: measure, report, and the model card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptstill.artifacts import Report, Run, write_json
from promptstill.data.benchmarks import Benchmark, load_benchmark
from promptstill.models.bundle import Bundle, load_bundle
from promptstill.models.clip import Clip, load_clip
from promptstill.settings import Evaluate, RunSettings
from promptstill.stages.evaluate import evaluate
from promptstill.stages.report import make_report, write_card


def open_benchmark(uri: str | None, classes: Sequence[str]) -> Benchmark | None:
    """The benchmark of a run, refused early if it has none of the classes."""
    if not uri:
        return None
    benchmark = load_benchmark(uri)
    benchmark.restrict(classes)
    return benchmark


def finish(
    run: Run, pipeline: str, bundle: Bundle, teacher: Clip, benchmark: Benchmark | None, strictness: str
) -> Report:
    """Evaluate if there is a benchmark, then write ``5-report`` and the bundle's card."""
    settings = run.settings
    assert isinstance(settings, RunSettings)

    def report_(folder: Path) -> None:
        evaluation = evaluate(bundle, teacher, benchmark, settings.evaluate) if benchmark else None
        asked = {
            "pipeline": pipeline,
            "teacher": settings.teacher,
            "student": settings.student,
            "seed": settings.seed,
            "settings": settings.model_dump(mode="json"),
            "strictness": strictness,
        }
        report = make_report(bundle, teacher, evaluation, asked, run.notes(), run.folder / "4-student")
        write_card(report, run.folder / "4-student")
        report.save(folder)

    return run.once("5-report", report_, Report.load)


def evaluate_student(
    student: Path, benchmark: str, teacher: str | None = None, json: Path | None = None
) -> dict[str, Any]:
    """Score a finished student, and its teacher, on a benchmark; optionally write the figures to a JSON file.

    ``teacher`` is the one named in the bundle unless given.
    """
    bundle = load_bundle(student)
    scored = open_benchmark(benchmark, bundle.vectors.names)
    assert scored is not None
    figures = evaluate(bundle, load_clip(teacher or bundle.vectors.teacher), scored, Evaluate())
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        write_json(json, figures)
    return figures
