"""Class names and unlabeled images of the domain -> student (PromptKD, CVPR 2024).

names -> class vectors; unlabeled images -> teacher's soft labels -> student -> report
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from promptstill.artifacts import ClassVectors, Report, Run
from promptstill.data.images import check_images, load_index, open_images, save_index
from promptstill.engine import Stopper, make_fabric, stream_seed, tracked
from promptstill.models.bundle import load_bundle
from promptstill.models.clip import load_clip
from promptstill.models.student import make_student
from promptstill.pipelines.finish import finish, open_benchmark
from promptstill.settings import FromImages, resolve
from promptstill.settings import preset as find_preset
from promptstill.stages.distill import distill, prepare
from promptstill.stages.teach import class_vectors


def from_images(
    images: str | Path,
    classes: Sequence[str] | str | Path,
    out: str | Path,
    *,
    preset: str = "fast",
    config: Path | None = None,
    set: Sequence[str] = (),  # noqa: A002  (the command line's word)
    **values: Any,
) -> Report:
    """Distil a student on unlabeled images.

    ``values`` are fields of :class:`FromImages`, ``set`` holds ``stage.key=value`` texts.
    """
    given = {"images": str(images), "classes": classes, "out": out, **values}
    return run(resolve(FromImages, given, config=config, base=find_preset("from-images", preset), overrides=set))


def run(settings: FromImages) -> Report:
    """Run, or continue, the pipeline in ``settings.out``."""
    fabric = make_fabric(settings.device, settings.precision)
    source = open_images(settings.images, limit=settings.limit)
    with Run.open(settings.out, settings) as run, Stopper().listening() as stopper:
        teacher = load_clip(settings.teacher).to(fabric.device)
        weights = settings.student_weights
        draw = stream_seed(settings.seed, "student")
        size = settings.distill.image_size
        student = make_student(settings.student, teacher.dim, teacher.preprocess, size, weights, draw)
        benchmark = open_benchmark(settings.benchmark, settings.classes)

        def teach_(folder: Path) -> None:
            class_vectors(teacher, settings.classes, settings.vectors).save(folder)

        def index_(folder: Path) -> dict[str, Any]:
            kept, rejected = check_images(source, progress=partial(tracked, "check images"))
            save_index(kept, rejected, folder)
            return {"images": len(kept), "rejected": len(rejected)}

        def distill_(folder: Path) -> dict[str, Any]:
            store = run.folder / "3-images" / "teacher-store"
            lesson = prepare(teacher, student, images, vectors, settings.distill, settings.seed, store, stopper)
            return distill(student, lesson, fabric, folder, stopper, run.metric)

        vectors = run.once("1-vectors", teach_, ClassVectors.load)
        images, _ = run.once("3-images", index_, load_index)
        bundle = run.once("4-student", distill_, load_bundle)
        strictness = f"It saw {len(images)} unlabeled images and no label."
        return finish(run, "from-images", bundle, teacher, benchmark, strictness)
