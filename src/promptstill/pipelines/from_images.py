"""Class names and unlabeled images of the domain -> student (PromptKD, CVPR 2024).

names -> class vectors; unlabeled images -> teacher's soft labels -> student -> report
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from promptstill.artifacts import Report
from promptstill.config import resolve
from promptstill.data.benchmarks import open_unlabeled
from promptstill.data.index import check_images, load_index, save_index
from promptstill.engine import tracked
from promptstill.pipelines.finish import Origin, report
from promptstill.pipelines.frame import framed
from promptstill.settings import FromImages
from promptstill.settings import preset as find_preset

log = logging.getLogger("promptstill")


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


def run(settings: FromImages, strictness: str | None = None) -> Report:
    """Run, or continue, the pipeline in ``settings.out``. ``strictness`` is what the report says of the images seen, if
    they are no real ones."""
    source = open_unlabeled(settings.images, settings.limit)
    with framed(settings) as frame:

        def index_images(folder: Path) -> dict[str, Any]:
            kept, rejected = check_images(source, progress=partial(tracked, "check images"))
            save_index(kept, rejected, folder)
            if rejected:
                log.warning("%d of %d images are left out, see index.jsonl", len(rejected), len(kept) + len(rejected))
            return {"images": len(kept), "rejected": len(rejected)}

        vectors = frame.teach()
        images, _ = frame.run.once("3-images", index_images, load_index)
        bundle = frame.distill(images, vectors)
        seen = strictness or f"It saw {len(images)} unlabeled images and no label."
        return report(frame, bundle, Origin("from-images", seen, images))
