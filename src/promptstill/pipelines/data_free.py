"""DFKD-VLFM's protocol: for each strategy one set of images from names alone, students, whole domains tested."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptstill.artifacts import Report, Run, write_atomic, write_json
from promptstill.data.labelled import Labelled, open_labelled
from promptstill.measuring import DataFree
from promptstill.models.generator import load_generator
from promptstill.models.teachers import load_teacher
from promptstill.ops.metrics import spread
from promptstill.pipelines import from_images, from_names
from promptstill.pipelines.plan import Need, plan_from_names
from promptstill.pipelines.protocols import slug
from promptstill.pipelines.tables import data_free_table
from promptstill.settings import FromImages, FromNames
from promptstill.stages.report import versions


def run(settings: DataFree) -> dict[str, Any]:
    """Run, or continue, the protocol in ``settings.out``: ``{result.json, table.md}`` and the runs."""
    tests = {uri: open_labelled(uri, "test") for uri in settings.data}
    asked = {uri: [_first(settings, uri, test, s) for s in settings.strategies] for uri, test in tests.items()}
    refuse(settings, [first for runs in asked.values() for first in runs])
    sets: dict[str, dict[str, Any]] = {}
    with Run.open(settings.out, settings):
        for uri, test in tests.items():
            for first in asked[uri]:
                rows = sets.setdefault(test.name, {})
                made = from_names.run(first)
                reports = [made, *_others(settings, first, made.content["strictness"])]
                rows |= {"teacher": _figures(reports[:1], "teacher")} if not rows else {}
                rows[first.diversify.strategy] = _figures(reports, "student")
    content = {"protocol": "data-free", "settings": settings.model_dump(mode="json"), "sets": sets}
    content["versions"] = versions()
    write_json(settings.out / "result.json", content)
    write_atomic(settings.out / "table.md", data_free_table(content))
    return content


def plan(settings: DataFree) -> list[Need]:
    """``--dry-run``: the needs of the runs from names; the other students need what its student needs."""
    needs: list[Need] = []
    for uri in settings.data:
        test = open_labelled(uri, "test")
        for strategy in settings.strategies:
            for need in plan_from_names(_first(settings, uri, test, strategy)):
                count = len(settings.seeds) if need.stage[0] in "45" else 1
                name = f"{test.name}, {strategy}: {need.stage}"
                needs.append(Need(name, need.images * count, need.seconds * count, need.megabytes * count))
    return needs


def refuse(settings: DataFree, runs: Sequence[FromNames]) -> None:
    """Raise now what a later one of the runs would raise."""
    generator, teacher = load_generator(settings.generator), load_teacher(settings.teacher)
    for each in runs:
        from_names.refuse(each, generator, teacher)


def _first(settings: DataFree, uri: str, test: Labelled, strategy: str) -> FromNames:
    """The run from names that makes a strategy's images and the first student."""
    diversify = settings.diversify.model_dump() | {"strategy": strategy}
    cast = settings.model_dump(include={"teacher", "student", "student_weights", "device", "precision"})
    return FromNames.model_validate(
        cast
        | {
            "classes": test.classes,
            "out": settings.out / f"{slug(uri)}-{strategy}",
            "benchmark": uri,
            "seed": settings.seeds[0],
            "generator": settings.generator,
            "diversify": diversify,
            "synthesize": settings.synthesize,
            "vectors": settings.vectors,
            "distill": settings.distill,
        }
    )


def _others(settings: DataFree, first: FromNames, strictness: str) -> list[Report]:
    """Students of the other seeds, which learn on the images that the first run made; these are no real ones either."""
    shared = first.model_dump(exclude={"generator", "diversify", "synthesize", "out", "seed"})
    images = str(first.out / "3-images" / "shard-*.parquet")
    return [
        from_images.run(
            FromImages.model_validate(shared | {"images": images, "seed": seed, "out": _beside(first, seed)}),
            strictness,
        )
        for seed in settings.seeds[1:]
    ]


def _beside(first: FromNames, seed: int) -> Path:
    return first.out.with_name(f"{first.out.name}-seed-{seed}")


def _figures(reports: list[Report], who: str) -> dict[str, Any]:
    """By domain, and their mean: micro and macro accuracy over seeds."""
    each = [report.content["evaluation"]["domains"] for report in reports]
    found: dict[str, Any] = {}
    for name in each[0]:
        found[name] = {kind: spread([rows[name][_key(who, kind)] for rows in each]) for kind in ("micro", "macro")}
    means = {
        kind: [statistics.fmean(row[_key(who, kind)] for row in rows.values()) for rows in each]
        for kind in ("micro", "macro")
    }
    return found | {"mean": {kind: spread(values) for kind, values in means.items()}}


def _key(who: str, kind: str) -> str:
    return who if kind == "micro" else f"{who}_macro"
