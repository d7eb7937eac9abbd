"""Few-shot fine-tuning of a distilled student against the same architecture without distillation (DFKD-VLFM, fig. 5).

n labelled images a class are learned from; the rest is tested. Curves, a table, and t-SNE of both students' features.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from lightning_fabric import Fabric

from promptstill.artifacts import ClassVectors, Run, read_json, write_atomic, write_json
from promptstill.config import resolve
from promptstill.data.benchmarks import Domain, by_domain
from promptstill.data.labelled import Labelled
from promptstill.engine import make_fabric, stream_seed
from promptstill.errors import DataError
from promptstill.measuring import FewShot
from promptstill.models.bundle import load_bundle
from promptstill.models.student import Student
from promptstill.models.teachers import load_teacher
from promptstill.ops.metrics import accuracy, clusters, spread
from promptstill.pipelines.frame import cast_student
from promptstill.pipelines.plan import Need, plan_evaluate, probe_student
from promptstill.pipelines.protocols import open_task, same_images
from promptstill.pipelines.tables import markdown
from promptstill.settings import FromImages, FromNames, RunSettings
from promptstill.stages.curves import draw_curves, draw_maps
from promptstill.stages.evaluate import Embed, at_home, embed_domain
from promptstill.stages.finetune import finetune
from promptstill.stages.illustrate import feature_map
from promptstill.stages.report import versions

WHO = ("distilled", "not distilled")
MOST_MAPPED = 4000  # images whose features are compared with each other
Episode = tuple[Labelled, Labelled]  # what is learned from, what is tested


def run(settings: FewShot) -> dict[str, Any]:
    """Run, or continue, the evaluation in ``settings.out``: ``{result.json, table.md, curves.png, features.png}``."""
    names, before = load_bundle(settings.student).vectors.names, first_settings(settings.student)
    task, fabric = open_task(settings.data), make_fabric(settings.device, settings.precision)
    test, train = task.test.restrict(names), task.train.restrict(names)
    own = test if same_images(task) else train
    with Run.open(settings.out, settings) as run:
        maps = _maps(settings, before, test, fabric)
        found: dict[int, dict[str, Any]] = {}
        for count in settings.shots:
            each: list[dict[str, float]] = []
            for seed in settings.seeds:
                parts = episodes(own, test, count, seed)
                score = partial(_score, settings, before, parts, seed, fabric)
                each.append(run.once(f"shots-{count}-seed-{seed}", score, lambda f: read_json(f / "scores.json")))
            found[count] = {who: spread([row[who] for row in each]) for who in WHO}
    return _finish(settings, test, found, maps)


def plan(settings: FewShot) -> list[Need]:
    """``--dry-run``: times a step and a test."""
    test = open_task(settings.data).test.restrict(load_bundle(settings.student).vectors.names)
    runs = 2 * len(settings.shots) * len(settings.seeds)
    (tests,) = plan_evaluate(settings.student, settings.data)
    student = load_bundle(settings.student).student
    each = settings.steps * settings.distill.batch_size * probe_student(student)
    return [Need("fine-tune", runs * len(test), runs * (each + tests.seconds), 0.1)]


def first_settings(folder: Path) -> RunSettings:
    """The settings that a student was distilled with, from its run folder: what it was before is made from them.

    Raises:
        DataError: the folder is no run of from-images or from-names.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise DataError(f"{folder} is no run folder: it has no config.yaml; give what from-images or from-names made")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | {"out": folder}
    return resolve(FromImages if "images" in content else FromNames, content)


def episodes(own: Labelled, test: Labelled, count: int, seed: int) -> list[Episode]:
    """What is learned from, and what is tested then.

    With a training split the shots come from it, over all domains, and the test split is tested. Without one each
    domain is an episode of its own: its shots are drawn, the rest is tested, and a class keeps one image at least.
    """
    if own is not test:
        return [(own.shots(count, seed), test)]
    found: list[Episode] = []
    for title in dict.fromkeys(test.domains or ("",)):
        part = test.take([i for i, name in enumerate(test.domains) if name == title]) if title else test
        drawn = part.shots(count, seed, leave=1)
        taken = set(drawn.images.ids)
        found.append((drawn, part.take([i for i, name in enumerate(part.images.ids) if name not in taken])))
    return found


def _score(
    settings: FewShot, before: RunSettings, parts: Sequence[Episode], seed: int, fabric: Fabric, folder: Path
) -> None:
    """Mean accuracy over domains after fine-tuning, of both students."""
    scores: dict[str, list[float]] = {who: [] for who in WHO}
    for shots, test in parts:
        for who in WHO:
            student, rows = _student(settings, before, who)
            finetune(student, rows, shots, settings.distill, settings.steps, stream_seed(seed, "shots"), fabric)
            for domain in by_domain(test).domains.values():
                features = _features(student, domain, settings, fabric)
                said = (features @ torch.from_numpy(rows.vectors).T).argmax(-1)
                scores[who].append(accuracy(said, torch.tensor(domain.labels), len(rows.names))["micro"])
    write_json(folder / "scores.json", {who: float(np.mean(values)) for who, values in scores.items()})


def _student(settings: FewShot, before: RunSettings, who: str) -> tuple[Student, ClassVectors]:
    """The finished student, or the same one as it was when its distillation began; and what its outputs mean."""
    bundle = load_bundle(settings.student)
    if who == "distilled":
        return bundle.student, bundle.reading
    return cast_student(before, load_teacher(before.teacher)), bundle.reading


def _features(
    student: Student, domain: Domain, settings: FewShot, fabric: Fabric, embed: Embed | None = None
) -> torch.Tensor:
    student.eval().to(fabric.device)
    embed = at_home(student, embed)
    return embed_domain(embed, student.architecture.preprocess, domain, settings.evaluate.batch_size)


def _maps(settings: FewShot, before: RunSettings, test: Labelled, fabric: Fabric) -> dict[str, dict[str, Any]]:
    """t-SNE, silhouette and k-NN of what both students see in the test images, before any label is seen: embeddings, or
    what goes into a head of scores (fig. 10). Of many images an evenly spaced sample counts."""
    some = np.unique(np.linspace(0, len(test) - 1, min(MOST_MAPPED, len(test))).round().astype(int)).tolist()
    sample, found = test.take(some), dict[str, dict[str, Any]]()
    for who in WHO:
        student, _ = _student(settings, before, who)
        embed = student.features if student.architecture.head else student
        domain = Domain(sample.images, sample.labels)
        seen = F.normalize(_features(student, domain, settings, fabric, embed), dim=-1).numpy()
        found[who] = clusters(seen, np.array(sample.labels))
        if drawn := feature_map(seen, 0):
            found[who] |= drawn | {"labels": [sample.labels[row] for row in drawn["rows"]]}
    return found


def _finish(
    settings: FewShot, test: Labelled, found: dict[int, dict[str, Any]], maps: dict[str, Any]
) -> dict[str, Any]:
    draw_curves(settings.out / "curves.png", found, f"{test.name}, {len(settings.seeds)} seeds")
    drawn = {who: made for who, made in maps.items() if "points" in made}
    if drawn:
        draw_maps(settings.out / "features.png", drawn, test.classes)
    features = {who: {name: made[name] for name in ("silhouette", "knn")} for who, made in maps.items()}
    content = {"protocol": "few-shot", "settings": settings.model_dump(mode="json"), "features": features}
    content |= {"shots": {str(count): rows for count, rows in found.items()}, "versions": versions()}
    cells = [
        [str(count), *(f"{rows[who]['mean']:.2f} ± {rows[who]['sd']:.2f}" for who in WHO)]
        for count, rows in found.items()
    ]
    table = markdown(["labelled images a class", *WHO], cells) + "\n"
    table += markdown(["features", "silhouette", "k-NN"], [
        [who, "" if row["silhouette"] is None else f"{row['silhouette']:.3f}", f"{row['knn']:.1f}"]
        for who, row in features.items()
    ])  # fmt: skip
    write_json(settings.out / "result.json", content)
    write_atomic(settings.out / "table.md", table)
    return content
