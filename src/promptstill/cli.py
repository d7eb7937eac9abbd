"""The command line: verbs made from the settings of the Python API. Parse, call, print; no logic, no heavy import."""

import importlib
import inspect
import json as json_module
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from promptstill.config import Settings, resolve
from promptstill.errors import PromptstillError
from promptstill.measuring import BaseToNovel, DataFree, FewShot, Transfer
from promptstill.naming import as_names
from promptstill.settings import PRESETS, FromImages, FromNames, Teach, preset

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Class names in, small verified classifier out."
)

Student = Annotated[Path, typer.Argument(help="a run folder, its 4-student, or hf:ORG/NAME@REV", show_default=False)]
COMMON: dict[str, tuple[Any, Any, str]] = {
    "preset": (str, "fast", "a bundle of settings"),
    "config": (Path | None, None, "a YAML file of settings, such as another run's config.yaml"),
    "set": (list[str], [], "stage.key=value, as often as needed, e.g. distill.epochs=5"),
    "dry_run": (bool, False, "say what would be done, on which disk and how long, after a probe of a few seconds"),
}


def pipeline_verb(
    name: str, kind: type[Settings], run: Callable[[Any, bool], None], presets: str = "", under: typer.Typer = app
) -> None:
    """Add a verb whose options are the plain fields of ``kind``; its groups are reached by --set and --config."""
    presets = presets or name

    def verb(**given: Any) -> None:
        chosen, config, overrides, dry = (given.pop(key) for key in COMMON)
        values = {key: value for key, value in given.items() if value is not None}
        run(resolve(kind, values, config=config, base=preset(presets, chosen), overrides=overrides), dry)

    rows = {key: (str | None, None, field.description or "") for key, field in plain_fields(kind).items()} | COMMON
    rows["preset"] = (str, "fast", f"{COMMON['preset'][2]}: {' | '.join(PRESETS[presets])}")
    parameters = []
    for key, (annotation, default, text) in rows.items():
        option = typer.Option("--" + key.replace("_", "-"), help=text, show_default=default not in (None, [], False))
        annotated = Annotated[annotation, option]
        parameters.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=annotated, default=default))
    vars(verb)["__signature__"] = inspect.Signature(parameters)
    verb.__annotations__ = {p.name: p.annotation for p in parameters}
    under.command(name, help=kind.__doc__)(verb)


def plain_fields(kind: type[Settings]) -> dict[str, Any]:
    """The fields that are no group of settings."""

    def group(annotation: object) -> bool:
        return isinstance(annotation, type) and issubclass(annotation, Settings)

    return {key: field for key, field in kind.model_fields.items() if not group(field.annotation)}


def _from_images(settings: FromImages, dry: bool) -> None:
    from promptstill.pipelines import from_images, plan

    plan.show(plan.plan_from_images(settings)) if dry else _finished(from_images.run(settings), settings.out)


def _from_names(settings: FromNames, dry: bool) -> None:
    from promptstill.pipelines import from_names, plan

    plan.show(plan.plan_from_names(settings)) if dry else _finished(from_names.run(settings), settings.out)


def _finished(report: Any, out: Path) -> None:
    from promptstill.stages.report import show, summary

    show(report)
    print(summary(report, out))


def _teach(settings: Teach, dry: bool) -> None:
    from promptstill.pipelines import plan, teach

    if dry:
        plan.show(teach.plan(settings))
        return
    for line in teach.summary(teach.run(settings), settings.out):
        print(line)


pipeline_verb("teach", Teach, _teach)
pipeline_verb("from-images", FromImages, _from_images)
pipeline_verb("from-names", FromNames, _from_names)


def _measured(module: str) -> Callable[[Any, bool], None]:
    """A protocol of ``promptstill.pipelines``: its plan, or its table once it has run."""

    def run(settings: Any, dry: bool) -> None:
        from promptstill.pipelines import plan

        part = importlib.import_module(f"promptstill.pipelines.{module}")
        if dry:
            plan.show(part.plan(settings))
            return
        part.run(settings)
        print((settings.out / "table.md").read_text(encoding="utf-8"))

    return run


protocol = typer.Typer(no_args_is_help=True, help="The papers' protocols from end to end, their tables, their numbers.")
app.add_typer(protocol, name="protocol")
pipeline_verb("base-to-novel", BaseToNovel, _measured("protocols"), "protocol", protocol)
pipeline_verb("transfer", Transfer, _measured("protocols"), "protocol", protocol)
pipeline_verb("data-free", DataFree, _measured("data_free"), "data-free", protocol)
pipeline_verb("few-shot", FewShot, _measured("few_shot"), "few-shot", protocol)


@app.command()
def evaluate(
    student: Student,
    benchmark: Annotated[str, typer.Option(help="pictograms | dir:PATH with DOMAIN/CLASS/*")] = "pictograms",
    teacher: Annotated[str | None, typer.Option(help="another teacher than the student's own")] = None,
    json: Annotated[Path | None, typer.Option(help="write the figures to this file")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=COMMON["dry_run"][2])] = False,
) -> None:
    """Score a student and its teacher on a benchmark."""
    from rich.console import Console

    if dry_run:
        from promptstill.pipelines import plan

        plan.show(plan.plan_evaluate(student, benchmark, teacher))
        return
    from promptstill.pipelines.frame import evaluate_student
    from promptstill.stages.report import accuracy_table

    Console().print(accuracy_table(evaluate_student(student, benchmark, teacher, json)))


@app.command()
def vectors(
    classes: Annotated[str, typer.Option(help="class names: a,b,c or a .txt file", show_default=False)],
    out: Annotated[Path, typer.Option(help="a new or empty folder", show_default=False)],
    teacher: Annotated[str | None, typer.Option(help="nano | openclip:... | dir:... | prompted:... | A+B")] = None,
    student: Annotated[Path | None, typer.Option(help="give this student the new classes, without training")] = None,
    set: Annotated[list[str], typer.Option(help="templates=[...]: texts with a hole, or names of sets")] = [],  # noqa: A002, B006
) -> None:
    """Make class vectors alone, or give a finished student other classes."""
    from promptstill.pipelines import vectors as pipeline

    if student:
        made = pipeline.retarget_student(student, classes, out, teacher, set).vectors
    else:
        made = pipeline.vectors(classes, out, teacher or "nano", set)
    what = "class" if len(made.names) == 1 else "classes"
    print(f"Made {out}: {len(made.names)} {what} by {made.teacher}, {len(made.templates)} text(s) each.")


@app.command("import-official")
def import_official(
    file: Annotated[Path, typer.Argument(help="model-best.pth.tar, model.pth.tar-20, ...", show_default=False)],
    base: Annotated[str, typer.Option(help="the CLIP it was learned on, e.g. openclip:ViT-L-14/openai")],
    out: Annotated[Path, typer.Option(help="a new or empty folder", show_default=False)],
    teacher: Annotated[str | None, typer.Option(help="for a student file: the teacher of its class vectors")] = None,
    classes: Annotated[str | None, typer.Option(help="for a student file: class names")] = None,
) -> None:
    """Read a teacher or student file of the public PromptSRC and PromptKD code; nothing in it is run."""
    from promptstill.pipelines import official

    names = as_names(classes) if classes else ()
    made = official.import_official(file, out, base, teacher, names)
    print(f"Made {out}: a {made.kind} of epoch {made.official.epoch}. Use it: {made.use}")


@app.command("export-official")
def export_official(
    source: Annotated[Path, typer.Argument(help="what teach made, or a prompted student", show_default=False)],
    file: Annotated[Path, typer.Argument(help="the file to write, e.g. model-best.pth.tar", show_default=False)],
) -> None:
    """Write a prompted teacher or student as the public PromptSRC and PromptKD code would."""
    from promptstill.pipelines import official

    print(f"Made {file}: a {official.export_official(source, file)} in the official layout.")


@app.command()
def predict(
    student: Student,
    images: Annotated[list[Path], typer.Argument(help="picture files", show_default=False)],
    top: Annotated[int, typer.Option(min=1, help="classes to name for each")] = 3,
    json: Annotated[bool, typer.Option("--json", help="one JSON line a picture")] = False,
) -> None:
    """Name what is in pictures."""
    from promptstill.stages.predict import answers, load

    code = 0
    for image, row in answers(load(student), images, top):
        if isinstance(row, PromptstillError):  # the others are answered all the same
            print(f"promptstill: {row}", file=sys.stderr)
            code = row.exit_code
        elif json:
            print(json_module.dumps({"image": str(image), "predictions": [vars(p) for p in row]}))
        else:
            print(f"{image}: " + ", ".join(f"{p.label} {p.probability:.1%}" for p in row))
    raise typer.Exit(code)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="finished run folders", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="the page to write; for several runs comparison.html here")] = None,
) -> None:
    """Write the report page of a run again, or one page of several runs side by side."""
    from promptstill.pipelines.finish import write_page

    print(f"wrote {write_page(runs, out)}")


@app.command()
def push(
    student: Student,
    repo: Annotated[str, typer.Argument(help="ORG/NAME on the model hub; made if it is not there", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="make it a private repository")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check the student and name the files, upload none")
    ] = False,
) -> None:
    """Upload a student to the model hub; prints the pinned name that load, predict and the other verbs take."""
    from promptstill.pipelines.share import plan_push, push_student

    if dry_run:
        for name, size in plan_push(student, repo).items():
            print(f"{name} {size / 1e6:.3f} MB -> {repo}")
        return
    print(push_student(student, repo, private=private))


@app.command()
def export(
    student: Student,
    format: Annotated[str, typer.Option(help="onnx | onnx-int8 | torch-export | web")],  # noqa: A002
    out: Annotated[Path, typer.Option(help="a new or empty folder", show_default=False)],
    benchmark: Annotated[str | None, typer.Option(help="compare on it: pictograms | dir:PATH; the run's own")] = None,
    calibrate: Annotated[str | None, typer.Option(help="images that set INT8's ranges; the run's own")] = None,
    runtime: Annotated[str, typer.Option(help="the page's onnxruntime-web: cdn | local | a folder")] = "cdn",
    vectors: Annotated[
        list[Path], typer.Option(help="more sets of classes for the page: runs of the same teacher")
    ] = [],  # noqa: B006
    set: Annotated[list[str], typer.Option(help="key=value: probabilities, normalize, samples, batch_size, ...")] = [],  # noqa: A002, B006
) -> None:
    """Write a student as ONNX, INT8, torch.export or a web page; refused if it disagrees with the student."""
    from promptstill.exporting import Export
    from promptstill.pipelines.export import run, summary

    given: dict[str, Any] = {"format": format, "out": out, "runtime": runtime, "vectors": tuple(vectors)}
    given |= {"benchmark": benchmark, "calibrate": calibrate}
    settings = resolve(Export, given, overrides=set)
    print(summary(run(student, settings), settings.out))


@app.command()
def serve(
    student: Annotated[Path, typer.Argument(help="a run folder, its 4-student, or a web export", show_default=False)],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one")] = 8000,
    runtime: Annotated[str, typer.Option(help="onnxruntime-web: cdn | local | a folder that has it")] = "cdn",
) -> None:
    """Show a student's page in the browser, on this machine alone."""
    from promptstill.pipelines.serve import serve as run

    run(student, port, runtime, print)


@app.command("list")
def list_() -> None:
    """Teachers, students, generators, benchmarks and presets."""
    from promptstill.pipelines.about import catalogue

    for kind, rows in catalogue().items():
        print(f"{kind}:")
        for uri, gloss in rows.items():
            print(f"  {uri:34} {gloss}")


@app.command()
def doctor() -> None:
    """Look at this machine: versions, devices, disk, embedded models."""
    from promptstill.pipelines.about import examine

    findings = examine()
    for name, (good, text) in findings.items():
        print(f"{'ok  ' if good else 'BAD '} {name}: {text}")
    if not all(good for good, _ in findings.values()):
        raise typer.Exit(4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0, 2 usage, 3 data, 4 missing, 5 no space, 75 interrupted)."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("promptstill").propagate = False  # the run's log file has it; the screen has bars and tables
    command = typer.main.get_command(app)
    try:
        code = int(command.main(list(arguments) if arguments is not None else None, standalone_mode=False) or 0)
        if code == 128 + signal.SIGINT:  # the command line's own code for a KeyboardInterrupt
            raise KeyboardInterrupt
        return code
    except PromptstillError as error:
        print(f"promptstill: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("promptstill: stopped; start the same command again, it continues a run", file=sys.stderr)
        return 75
    except Exception as error:
        code = getattr(error, "exit_code", None)  # only the command line's own errors have one
        if code is None:
            raise
        if show := getattr(error, "show", None):
            show()
        return int(code)
