"""Data-free distillation on pictograms: four ways to write prompts at an equal budget, five students each.

python benchmarks/quality_datafree.py [--quick] [--ablations] [--seeds 5] [--each 20] [--work runs/quality-datafree]
    [--student timm:tf_efficientnet_lite0 --student-weights FILE --name quality_datafree_imagenet]

One set of images a strategy; its students differ in their seed only. Finished runs in --work are not made again.
``FILE`` is as in benchmarks/photographs.py: ImageNet weights under timm's names, or in timm's order.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

import promptstill
from main_job import DEMO
from photographs import in_order
from promptstill.config import resolve
from promptstill.data.styles import STYLES
from promptstill.settings import PRESETS, FromNames
from record import record
from tables import quality_datafree

STRATEGIES = ("baseline", "mix", "random", "contrastive")
ABLATIONS: dict[str, tuple[str, ...]] = {  # a strategy's name alone: as in the main table
    "random, e = 1": ("diversify.strategy=random", "diversify.spread=1"),
    "random, e = 10": ("random",),
    "random, e = 100": ("diversify.strategy=random", "diversify.spread=100"),
    "mix, 10 styles": ("diversify.strategy=mix", "diversify.styles={styles-10}"),
    "mix, 40 styles": ("diversify.strategy=mix", "diversify.styles={styles-40}"),
    "mix, 86 styles": ("mix",),
    "contrastive, shuffle, instance": ("contrastive",),
    "contrastive, substitute": ("diversify.strategy=contrastive", "diversify.contrast.positive=substitute"),
    "contrastive, intra-class": ("diversify.strategy=contrastive", "diversify.contrast.within_class=true"),
    "contrastive, no gate": ("diversify.strategy=contrastive", "synthesize.gate=false"),
    "contrastive, anchor 5": ("diversify.strategy=contrastive", "diversify.contrast.anchor=5"),
    "contrastive, 150 steps": ("diversify.strategy=contrastive", "synthesize.steps=150"),
    "contrastive, class kept": ("diversify.strategy=contrastive", "synthesize.keep_class=0.2"),
}
QUICK = ("synthesize.steps=10", "synthesize.cutouts=1", "distill.epochs=2", "distill.views=2")


class Bench:
    """Runs below one folder, with the settings of the preset."""

    def __init__(
        self,
        work: Path,
        classes: Sequence[str],
        each: int,
        seeds: int,
        sets: Sequence[str],
        cast: dict[str, Any],
        painted: Path | None,
    ) -> None:
        self.work, self.classes, self.each, self.seeds, self.sets = work, tuple(classes), each, seeds, list(sets)
        self.cast, self.painted = cast, painted  # the student and its weights; another bench's folder with the images

    def images(self, name: str, sets: Sequence[str]) -> Any:
        """The report of one from-names run: its images, and the student of seed 0."""
        chosen = [*self.sets, f"diversify.images_per_class={self.each}", *sets]
        return promptstill.from_names(self.classes, self.work / name, set=chosen, benchmark="pictograms", **self.cast)

    def students(self, name: str, source: str | Path, seeds: Sequence[int]) -> list[Any]:
        """Reports of students that learn on the same pictures with other seeds, by the same settings."""
        base = PRESETS["from-names"]["fast"]
        own = resolve(FromNames, {"classes": self.classes, "out": self.work}, base=base, overrides=self.sets)
        given = self.cast | {
            "benchmark": "pictograms",
            "distill": own.distill.model_dump(),
            "vectors": own.vectors.model_dump(),
        }
        folder = self.work / f"{name}-students"
        return [promptstill.from_images(source, self.classes, folder / f"seed-{s}", seed=s, **given) for s in seeds]

    def row(self, name: str, sets: Sequence[str]) -> dict[str, Any]:
        """Accuracy by domain over students, and what is known of prompts and images."""
        if self.painted:
            source, first = self.painted / name, []
            stages = json.loads((source / "5-report" / "report.json").read_text(encoding="utf-8"))["stages"]
        else:
            source, first = self.work / name, [self.images(name, sets)]
            stages = first[0].content["stages"]
        shards = source / "3-images" / "shard-*.parquet"
        others = self.students(name, shards, range(len(first), self.seeds))
        prompts, images = stages["2-prompts"], stages["3-images"]
        kept = {key: prompts[key] for key in ("retention", "within", "between", "seconds")}
        return accuracy([*first, *others]) | {"prompts": kept, "images": images}

    def fewer(self, name: str, each: int) -> dict[str, Any]:
        """The same for the first images of each class only."""
        folder = self.work / f"{name}-first-{each}"
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((self.work / name / "3-images").glob("shard-*.parquet")):
            table = pq.read_table(path)
            some = table.filter(pc.less(table["number"], each * len(self.classes)))
            if len(some):
                pq.write_table(some, folder / path.name, compression="none")
        return accuracy(self.students(f"{name}-{each}", folder / "*.parquet", range(self.seeds)))


def accuracy(reports: Sequence[Any]) -> dict[str, Any]:
    """Means over students: by domain, their mean, and its standard deviation; the teacher's beside."""
    found = [report.content["evaluation"] for report in reports]
    each, domains = [row["mean"]["student"] for row in found], found[0]["domains"]
    return {
        "domains": {d: round(statistics.fmean(r["domains"][d]["student"] for r in found), 2) for d in domains},
        "mean": round(statistics.fmean(each), 2),
        "deviation": round(statistics.stdev(each), 2) if len(each) > 1 else 0.0,
        "each": [round(value, 2) for value in each],
        "teacher": {d: round(r["teacher"], 2) for d, r in domains.items()},
        "teacher_mean": round(found[0]["mean"]["teacher"], 2),
    }


def style_files(work: Path, texts: Sequence[str]) -> list[str]:
    """Settings with ``{styles-N}`` replaced by a file with N of the styles, evenly spaced."""
    filled: list[str] = []
    for text in texts:
        for count in (10, 40):
            path = work / f"styles-{count}.txt"
            path.write_text("\n".join(STYLES[i * len(STYLES) // count] for i in range(count)) + "\n", encoding="utf-8")
            text = text.replace(f"{{styles-{count}}}", str(path))
        filled.append(text)
    return filled


def ablation(bench: Bench, name: str, strategies: dict[str, Any]) -> dict[str, Any]:
    """One row of the ablations."""
    sets = ABLATIONS[name]
    if sets[0] in strategies:
        return strategies[sets[0]]
    slug = "".join(c if c.isalnum() else "-" for c in name)
    return bench.row(slug, style_files(bench.work, sets))


def main() -> None:
    """The main table, and on demand the ablations; record both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=Path("runs/quality-datafree"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--each", type=int, default=20, help="images a class")
    parser.add_argument("--classes", default=",".join(DEMO))
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few steps, two seeds, to see that it runs")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--name", default="quality_datafree", help="of the file in benchmarks/results")
    parser.add_argument("--student", default="nano-student")
    parser.add_argument("--student-weights", type=Path, default=None)
    parser.add_argument("--images", type=Path, default=None, help="the --work of another run, whose images are taken")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    cast: dict[str, Any] = {"student": given.student}
    if given.student_weights:
        arch, renamed = given.student.removeprefix("timm:"), given.work / "student.safetensors"
        cast["student_weights"] = in_order(arch, given.student_weights, renamed)
    sets = [*(QUICK if given.quick else ()), *given.set]
    each, seeds = (2, 2) if given.quick else (given.each, given.seeds)
    bench = Bench(given.work, given.classes.split(","), each, seeds, sets, cast, given.images)
    figures: dict[str, Any] = {"each": each, "seeds": seeds, "quick": given.quick, "student": given.student}
    figures["strategies"] = {name: bench.row(name, [f"diversify.strategy={name}"]) for name in STRATEGIES}
    if given.ablations:
        figures["ablations"] = {name: ablation(bench, name, figures["strategies"]) for name in ABLATIONS}
        counts = [count for count in (each // 4, each // 2) if count]
        figures["images_a_class"] = {str(count): bench.fewer("contrastive", count) for count in counts}
    record(given.name, figures, given.json)
    print(quality_datafree(figures))


if __name__ == "__main__":
    main()
