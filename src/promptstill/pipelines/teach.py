"""A few labelled images -> a teacher with learned prompts (PromptSRC, ICCV 2023; stage I of PromptKD).

labelled images -> the shots -> prompts of the towers -> report
"""

import logging
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from promptstill.artifacts import Report, Run
from promptstill.config import resolve
from promptstill.data.benchmarks import Benchmark, load_benchmark
from promptstill.data.index import check_images, load_index, save_index
from promptstill.data.labelled import EMBEDDED, Labelled, open_labelled
from promptstill.data.sets.base import key
from promptstill.engine import Stopper, make_fabric, tracked
from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.teachers import STAGE, load_teacher, read_about, save_teacher
from promptstill.ops.metrics import accuracy
from promptstill.pipelines.plan import PROBE, Need
from promptstill.settings import Evaluate, Teach, Vectors
from promptstill.settings import preset as find_preset
from promptstill.stages.evaluate import predict
from promptstill.stages.report import versions
from promptstill.stages.teach import class_vectors
from promptstill.stages.tune import fresh_teacher, prepare, tune

log = logging.getLogger("promptstill")


def teach(
    images: str | Path,
    out: str | Path,
    *,
    preset: str = "fast",
    config: Path | None = None,
    set: Sequence[str] = (),  # noqa: A002  (the command line's word)
    **values: Any,
) -> Report:
    """Learn a teacher's prompts from a few labelled images; ``prompted:OUT`` is the new teacher.

    ``values`` are fields of :class:`Teach`, ``set`` holds ``tune.key=value`` texts.
    """
    given = {"images": str(images), "out": out, **values}
    return run(resolve(Teach, given, config=config, base=find_preset("teach", preset), overrides=set))


def run(settings: Teach) -> Report:
    """Run, or continue, the pipeline in ``settings.out``."""
    data = open_shots(settings)
    benchmark = load_benchmark(settings.benchmark) if settings.benchmark else None
    fabric = make_fabric(settings.device, settings.precision)
    base = load_teacher(settings.teacher).to(fabric.device)
    if type(base) is not Clip:
        raise UsageError(f"{settings.teacher} is prompted or joined already; give one base model, such as nano")
    teacher, notes = fresh_teacher(base, settings.tune, settings.seed)
    with Run.open(settings.out, settings) as run, Stopper().listening() as stopper:

        def index_images(folder: Path) -> dict[str, Any]:
            kept, rejected = check_images(data.images, progress=partial(tracked, "check images"))
            save_index(kept, rejected, folder)
            return {"images": len(kept), "rejected": len(rejected)}

        def learn(folder: Path) -> dict[str, Any]:
            for note in notes:
                log.warning("%s", note)
            store = run.folder / "1-images" / "teacher-store"
            practice = prepare(base, teacher, shots, settings.tune, settings.seed, store, stopper)
            figures = tune(teacher, practice, settings.tune, fabric, folder, stopper, run.metric)
            facts = {"classes": shots.classes, "images": len(shots), "settings": settings.model_dump(mode="json")}
            facts |= {"training": figures, "notes": notes}
            save_teacher(folder, base, dict(teacher.prompts.items()), teacher.template or "", facts)
            (folder / "checkpoint.pt").unlink(missing_ok=True)
            return {"images": len(shots), "epochs": settings.tune.epochs}

        def report(folder: Path) -> None:
            uri = f"prompted:{settings.out}"
            content = about | {"pipeline": "teach", "teacher": uri, "versions": versions()}
            content |= {"stages": run.notes(), "selected_on_test_data": False, "evaluation": None}
            if benchmark:
                content["evaluation"] = compare(base, load_teacher(uri), benchmark, shots.classes)
            Report(content).save(folder)

        kept, _ = run.once("1-images", index_images, load_index)
        place = {name: i for i, name in enumerate(data.images.ids)}
        shots = data.take([place[name] for name in kept.ids])
        about = run.once(STAGE, learn, lambda folder: read_about(folder)[1])
        return run.once("3-report", report, Report.load)


def plan(settings: Teach) -> list[Need]:
    """``--dry-run``: looks at the data, embeds a few images and takes a few steps."""
    data, base = open_shots(settings), load_teacher(settings.teacher)
    teacher, _ = fresh_teacher(base, settings.tune, settings.seed)
    few = data.take(range(min(PROBE, len(data))))
    tune_once = settings.tune.model_copy(update={"epochs": 1, "views": 1})
    with TemporaryDirectory() as folder:
        fabric, spent = make_fabric("cpu"), time.perf_counter()
        practice = prepare(base, teacher, few, tune_once, settings.seed, Path(folder), Stopper())
        looked, spent = time.perf_counter() - spent, time.perf_counter()
        tune(teacher, practice, tune_once, fabric, Path(folder), Stopper(), lambda *_, **__: None)
        learned = time.perf_counter() - spent
    rounds = len(data) / len(few)
    seconds = rounds * (settings.tune.views * looked + settings.tune.epochs * learned)
    megabytes = 2e-6 * len(data) * settings.tune.views * base.dim
    return [Need("1-images", len(data), 1e-3 * len(data), 0.1), Need(STAGE, len(data), seconds, megabytes)]


def summary(report: Report, out: Path) -> list[str]:
    """Lines for the screen: what was made, what was left out, how good it is, how to use it."""
    content = report.content
    made = " and ".join(f"{name} {tuple(shape)}" for name, shape in content["prompts"].items())
    lines = [f"Made {out}: prompts ({made}) of {content['base']}, learned from {content['images']} images."]
    lines += [f"Note: {note}." for note in content["notes"]]
    for title, row in (content["evaluation"] or {}).items():
        if title != "benchmark":
            words = f"{row['classes']} classes it {'learned on' if title == 'trained' else 'did not learn on'}"
            lines.append(f"On {words}: {row['before']:.1f} % before, {row['after']:.1f} % after (mean over domains).")
    return [*lines, f"Use it: --teacher prompted:{out}"]


def open_shots(settings: Teach) -> Labelled:
    """The labelled images to learn from: so many of each class, drawn from the train split only.

    Raises:
        DataError: a class that was asked for has no image, or there is but one class.
    """
    uri = settings.images
    everything = open_labelled(uri if uri in EMBEDDED or ":" in uri else f"dir:{uri}", "train")
    drawn = everything.shots(settings.shots, settings.seed)
    found = drawn.restrict(settings.classes) if settings.classes else drawn
    empty = [name for i, name in enumerate(found.classes) if i not in found.labels]
    if empty:
        here = ", ".join(everything.classes[:8])
        raise DataError(f"{uri} has no image of {', '.join(empty)}; it has {here}, ...; name its classes")
    if len(found.classes) < 2:
        raise DataError(f"one class ({', '.join(found.classes)}) is too few to learn from; give at least two")
    return found


def compare(base: Clip, teacher: Clip, benchmark: Benchmark, trained: Sequence[str]) -> dict[str, Any]:
    """Accuracy in per cent, mean over domains, before and after: on the classes learned on, and on all others.

    Returns ``{"benchmark", "trained": {"classes", "before", "after"}, "others": ...}`` without what is empty.
    """
    known = {key(name) for name in trained}
    halves = {
        "trained": tuple(name for name in benchmark.classes if key(name) in known),
        "others": tuple(name for name in benchmark.classes if key(name) not in known),
    }
    rows: dict[str, Any] = {"benchmark": benchmark.name}
    for title, names in halves.items():
        if names:
            part = benchmark.restrict(names)
            before, after = (_score(clip, part, names) for clip in (base, teacher))
            rows[title] = {"classes": len(names), "before": round(before, 3), "after": round(after, 3)}
    return rows


def _score(clip: Clip, benchmark: Benchmark, names: tuple[str, ...]) -> float:
    vectors, size = class_vectors(clip, names, Vectors()), Evaluate().batch_size
    found = [
        (predict(clip.embed_images, clip.preprocess, domain, vectors, size), torch.tensor(domain.labels))
        for domain in benchmark.domains.values()
    ]
    return statistics.fmean(accuracy(best, labels, len(names))["micro"] for best, labels in found)
