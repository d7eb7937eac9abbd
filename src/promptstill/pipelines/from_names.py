"""Class names alone -> student (DFKD-VLFM, ACM MM 2023). No real image is used.

names -> class vectors -> prompts -> surrogate images -> student -> report
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptstill.artifacts import Prompts, Report
from promptstill.config import resolve
from promptstill.data.images import Images, open_images
from promptstill.data.sheet import draw_map
from promptstill.errors import UsageError
from promptstill.models.clip import Clip
from promptstill.models.generator import Latents, load_generator
from promptstill.models.painter import check_paint, make_painter
from promptstill.models.text_to_image import TextToImage
from promptstill.pipelines.finish import Origin, report
from promptstill.pipelines.frame import framed
from promptstill.settings import FromNames
from promptstill.settings import preset as find_preset
from promptstill.stages.diversify import check, diversify
from promptstill.stages.synthesize import numbers, synthesize


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
        refuse(settings, generator, frame.teacher)

        def write_prompts(folder: Path) -> dict[str, Any]:
            chosen, names = settings.diversify, settings.classes
            made = diversify(frame.teacher, names, chosen, settings.seed, frame.stopper)
            made.prompts.save(folder)
            if not chosen.picture:
                return made.figures
            picture = draw_map(made.prompts.embeddings, made.prompts.labels, names, folder / "map.png")
            return made.figures | {"picture": picture}

        def paint_images(folder: Path) -> dict[str, Any]:
            return synthesize(painter, prompts, vectors, folder, frame.stopper)

        vectors = frame.teach()
        painter = make_painter(frame.teacher, generator, vectors, settings.synthesize, settings.seed)
        prompts = frame.run.once("2-prompts", write_prompts, Prompts.load)
        images = frame.run.once("3-images", paint_images, open_shards)
        bundle = frame.distill(images, vectors)
        shown = prompts.take(numbers(settings.out / "3-images"))  # those that have an image
        strictness = f"No real image was used; the generator ({generator.uri}) was trained on: {generator.trained_on}."
        return report(frame, bundle, Origin("from-names", strictness, images, shown, generator.hash))


def refuse(settings: FromNames, generator: Latents | TextToImage, teacher: Clip) -> None:
    """Raise what the strategy or the generator would raise later, before anything is made."""
    check(teacher, settings.classes, settings.diversify)
    if not isinstance(generator, TextToImage):
        check_paint(teacher, generator, settings.synthesize)
    elif settings.diversify.strategy in ("random", "contrastive"):
        raise UsageError(
            f"{generator.uri} reads words, and diversify.strategy={settings.diversify.strategy} makes pseudo-words, "
            "which have no spelling; use baseline or mix"
        )


def open_shards(folder: Path) -> Images:
    """The surrogate images; the contact sheet beside them is none."""
    return open_images(folder / "shard-*.parquet")
