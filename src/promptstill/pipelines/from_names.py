"""Class names alone -> student (DFKD-VLFM, ACM MM 2023). No real image is used.

names -> class vectors -> prompts -> surrogate images -> student -> report
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptstill.artifacts import ClassVectors, Prompts, Report, Run
from promptstill.data.images import open_images
from promptstill.engine import Stopper, make_fabric, stream_seed
from promptstill.models.bundle import load_bundle
from promptstill.models.clip import load_clip
from promptstill.models.generator import load_generator
from promptstill.models.student import make_student
from promptstill.pipelines.finish import finish, open_benchmark
from promptstill.settings import FromNames, resolve
from promptstill.settings import preset as find_preset
from promptstill.stages.distill import distill, prepare
from promptstill.stages.diversify import diversify
from promptstill.stages.synthesize import Painter, synthesize
from promptstill.stages.teach import class_vectors


def from_names(
    classes: Sequence[str] | str | Path,
    out: str | Path,
    *,
    preset: str = "fast",
    config: Path | None = None,
    set: Sequence[str] = (),  # noqa: A002  (the command line's word)
    **values: Any,
) -> Report:
    """Distil a student from class names.

    ``values`` are fields of :class:`FromNames`, ``set`` holds ``stage.key=value`` texts.
    """
    given = {"classes": classes, "out": out, **values}
    return run(resolve(FromNames, given, config=config, base=find_preset("from-names", preset), overrides=set))


def run(settings: FromNames) -> Report:
    """Run, or continue, the pipeline in ``settings.out``."""
    fabric = make_fabric(settings.device, settings.precision)
    with Run.open(settings.out, settings) as run, Stopper().listening() as stopper:
        teacher = load_clip(settings.teacher).to(fabric.device)
        generator = load_generator(settings.generator).to(fabric.device)
        weights = settings.student_weights
        draw = stream_seed(settings.seed, "student")
        size = settings.distill.image_size
        student = make_student(settings.student, teacher.dim, teacher.preprocess, size, weights, draw)
        benchmark = open_benchmark(settings.benchmark, settings.classes)

        def teach_(folder: Path) -> None:
            class_vectors(teacher, settings.classes, settings.vectors).save(folder)

        def diversify_(folder: Path) -> None:
            diversify(teacher, settings.classes, settings.diversify).save(folder)

        def synthesize_(folder: Path) -> dict[str, Any]:
            painter = Painter(teacher, generator, settings.synthesize, settings.seed)
            share = synthesize(painter, prompts, vectors, folder, stopper)
            return {"images": len(prompts.labels), "recognised_by_teacher": round(share, 4)}

        def distill_(folder: Path) -> dict[str, Any]:
            store = run.folder / "3-images" / "teacher-store"
            lesson = prepare(teacher, student, images, vectors, settings.distill, settings.seed, store, stopper)
            return distill(student, lesson, fabric, folder, stopper, run.metric)

        vectors = run.once("1-vectors", teach_, ClassVectors.load)
        prompts = run.once("2-prompts", diversify_, Prompts.load)
        images = run.once("3-images", synthesize_, open_images)
        bundle = run.once("4-student", distill_, load_bundle)
        strictness = f"No real image was used; the generator ({generator.uri}) was trained on: {generator.trained_on}."
        return finish(run, "from-names", bundle, teacher, benchmark, strictness)
