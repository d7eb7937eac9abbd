"""Class names alone -> student (DFKD-VLFM, ACM MM 2023). No real image is used.

names -> class vectors -> prompts -> surrogate images -> student -> report
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptstill.artifacts import Prompts, Report
from promptstill.config import resolve
from promptstill.data.images import open_images
from promptstill.models.generator import load_generator
from promptstill.pipelines.frame import framed
from promptstill.settings import FromNames
from promptstill.settings import preset as find_preset
from promptstill.stages.diversify import diversify
from promptstill.stages.synthesize import Painter, synthesize


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
    generator = load_generator(settings.generator)
    with framed(settings) as frame:
        generator.to(frame.fabric.device)

        def write_prompts(folder: Path) -> dict[str, Any]:
            chosen, names = settings.diversify, settings.classes
            made = diversify(frame.teacher, names, chosen, settings.seed, frame.stopper)
            made.prompts.save(folder)
            return made.figures

        def paint_images(folder: Path) -> dict[str, Any]:
            painter = Painter(frame.teacher, generator, settings.synthesize, settings.seed)
            share = synthesize(painter, prompts, vectors, folder, frame.stopper)
            return {"images": len(prompts.labels), "recognised_by_teacher": round(share, 4)}

        vectors = frame.teach()
        prompts = frame.run.once("2-prompts", write_prompts, Prompts.load)
        images = frame.run.once("3-images", paint_images, open_images)
        bundle = frame.distill(images, vectors)
        strictness = f"No real image was used; the generator ({generator.uri}) was trained on: {generator.trained_on}."
        return frame.report("from-names", bundle, strictness)
