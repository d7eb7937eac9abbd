"""A finished student -> another format: ``promptstill export``."""

from pathlib import Path
from typing import Any

from promptstill.artifacts import ClassVectors
from promptstill.config import read_config, resolve
from promptstill.data.images import Images, open_images
from promptstill.data.index import load_index
from promptstill.errors import DataError, UsageError
from promptstill.exporting import Export
from promptstill.models.bundle import load_bundle
from promptstill.pipelines.frame import open_benchmark
from promptstill.stages.export import GATES, Group, Patterns, groups_of, spread
from promptstill.stages.export import export as write_export
from promptstill.stages.page import Page

SAMPLES = 8


def export(student: str | Path, format: str, out: str | Path, **values: Any) -> dict[str, Any]:  # noqa: A002
    """Write a student in another format; ``values`` are fields of :class:`Export`. Returns its parity figures."""
    return run(Path(student), resolve(Export, {"format": format, "out": out, **values}))


def run(student: Path, settings: Export) -> dict[str, Any]:
    """Export the bundle in ``student``, or in the run folder ``student``.

    Raises:
        DataError: the export disagrees with its bundle. UsageError: INT8 without images to calibrate on.
    """
    bundle, folder = load_bundle(student), run_folder(student)
    uri = settings.benchmark or asked(folder, "benchmark")
    benchmark = open_benchmark(uri, bundle.vectors.names) if uri else None
    own = open_images(settings.calibrate) if settings.calibrate else own_images(folder)
    if own is None and settings.format == "onnx-int8":
        raise UsageError(f"{student} has no images of its own run beside it; INT8 needs some: give --calibrate FOLDER")
    if benchmark:
        groups = groups_of(benchmark)
    else:
        images = spread(own, settings.compared_images) if own else Patterns(settings.compared_images)
        groups = [Group("the run's images" if own else "random patterns", images)]
    shown = samples(settings, groups if benchmark else [], own if asked(folder, "generator") else None)
    page = Page(settings.runtime, shown, [other_classes(path) for path in settings.vectors])
    extra = (lambda part: page.write(bundle, part)) if settings.format == "web" else None
    return write_export(bundle, settings, groups, own, extra)


def run_folder(student: Path) -> Path | None:
    """The run that a student is in, if it still is."""
    return next((place for place in (student, student.parent) if (place / "config.yaml").is_file()), None)


def asked(folder: Path | None, key: str) -> str | None:
    """One setting of the run."""
    return read_config(folder / "config.yaml").get(key) if folder else None


def own_images(folder: Path | None) -> Images | None:
    """The images that a run distilled on, if they are still there."""
    place = folder / "3-images" if folder else None
    if not place or not place.is_dir():
        return None
    try:
        indexed = (place / "index.jsonl").is_file()
        return load_index(place)[0] if indexed else open_images(place / "shard-*.parquet")  # not the contact sheet
    except DataError:
        return None  # moved since


def samples(settings: Export, groups: list[Group], painted: Images | None) -> Images | None:
    """Pictures for the page: those asked for, else the benchmark's, else surrogates; never a user's own unasked."""
    if settings.samples:
        return spread(open_images(settings.samples), SAMPLES)
    if not groups:
        return spread(painted, SAMPLES) if painted else None
    return spread(max(groups, key=lambda group: len(group.images)).images, SAMPLES)


def other_classes(path: Path) -> tuple[str, ClassVectors]:
    """Class vectors in a run, a student or a folder of their own, named by their classes."""
    inside = next((place for place in (path, path / "1-vectors") if (place / "vectors.json").is_file()), None)
    if inside is None:
        raise DataError(f"{path} holds no class vectors; give a run, its 1-vectors or a student")
    vectors = ClassVectors.load(inside)
    return f"{', '.join(vectors.names[:3])}{', ...' if len(vectors.names) > 3 else ''}", vectors


def summary(figures: dict[str, Any], out: Path) -> str:
    """What was made and how well it agrees, in a few lines."""
    made = f"Made {out}: {figures['format']}, {figures['bytes'] / 1e6:.2f} MB."
    if "smaller_than_fp32" in figures:
        made += f" It is {figures['smaller_than_fp32']:.1f}x smaller than fp32."
        made += f" Its activations have {figures['activations']} bits."
    agreed = f"On {figures['images']} images its best class is the student's in {figures['top1_agreement']:.2f} %"
    agreed += f"; the largest difference of a logit is {figures['max_logit_difference']:.1e}."
    if "accuracy_drop" in figures:
        agreed += f" Accuracy {figures['accuracy_student']:.2f} % -> {figures['accuracy_export']:.2f} %."
    spent = ", ".join(
        f"{row['student']:.1f} ms -> {row['export']:.1f} ms ({name.replace('_', ' ')})"
        for name, row in figures["latency_ms"].items()
    )
    return "\n".join((made, agreed, f"PyTorch -> {figures['format']}: {spent}."))


__all__ = ["GATES", "export", "run", "summary"]
