"""PromptKD on pictograms, base-to-novel: teacher and student over seeds; what trains, views, temperature, epochs.

python benchmarks/quality_promptkd.py [--work FOLDER] [--quick] [--seeds 1,2,3]

Every run is a folder below ``--work``, so the same command continues one that was stopped. Students learn by the preset
``best``. Nothing is selected: the ablations are measured after the fact, with the teacher of the first seed. Those of
views, temperature and epochs change the defaults and train the projector alone on stored features, which takes seconds.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from promptstill.measuring import BaseToNovel
from promptstill.pipelines.protocols import run
from promptstill.settings import PRESETS, Distill, Tune
from record import record

STUDENT = "prompted:nano-student"
BEST = PRESETS["from-images"]["best"]["distill"]
TITLE = "pictograms"
SWEEPS: dict[str, tuple[Any, ...]] = {
    "train": ("projector", "prompts", "all"),
    "views": (1, 2, 5, 10, 20),
    "temperature": (0.5, 1.0, 2.0, 4.0),
    "epochs": (5, 20, 60),
}
QUICK: dict[str, tuple[Any, ...]] = {"train": ("projector", "prompts"), "views": (1, 2), "epochs": (1, 2)}


def rounded(rows: dict[str, Any]) -> dict[str, Any]:
    """Means, spread and every seed's value, by who and figure, to two digits."""
    return {
        who: {
            figure: {
                "mean": round(value["mean"], 2),
                "sd": round(value["sd"], 2),
                "each": [round(each, 2) for each in value["each"]],
            }
            for figure, value in figures.items()
        }
        for who, figures in rows.items()
    }


def measured(work: Path, name: str, **values: Any) -> dict[str, Any]:
    """One protocol run below ``work``; its figures and the seconds this call took (0 if it was done before)."""
    began = time.perf_counter()
    done = (work / name / "result.json").is_file()
    settings = BaseToNovel(data=(TITLE,), out=work / name, student=STUDENT, store=work / "stores", **values)
    figures = rounded(run(settings)["sets"][TITLE])
    return figures | {"seconds": 0.0 if done else round(time.perf_counter() - began, 1)}


def ablations(work: Path, teacher: str, usual: dict[str, float], quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Rows of ``{"value", "base", "novel", "hm", "joint"}`` by what is changed; ``usual`` is the main run's seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, values in (QUICK if quick else SWEEPS).items():
        for value in values:
            if value == "prompts":
                found.setdefault(key, []).append({"value": value, **usual})
                continue
            change = BEST | {"train": value} if key == "train" else {"train": "projector", key: value}
            if quick:
                change = {"epochs": 2, "views": 2} | change
            rows = measured(work, f"{key}-{value}", teacher=teacher, seeds=(1,), distill=Distill(**change))
            student = {figure: each["mean"] for figure, each in rows["student"].items()}
            found.setdefault(key, []).append({"value": value, **student})
    return found


def main() -> None:
    """Run, or continue, and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None, help="keep the runs here, and go on with those that are")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--quick", action="store_true", help="one seed and a few epochs, to try it")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp())
    seeds = (1,) if given.quick else tuple(int(seed) for seed in given.seeds.split(","))
    small: dict[str, Any] = {"distill": Distill(**BEST)}
    if given.quick:
        small = {"tune": Tune(epochs=2, views=1), "distill": Distill(epochs=2, views=2)}
    rows = measured(work, "main", teacher="nano", seeds=seeds, **small)
    hm = {who: rows[who]["hm"]["mean"] for who in rows if who != "seconds"}
    teacher = f"prompted:{work / 'main' / f'teacher-{TITLE}-{seeds[0]}'}"
    usual = {figure: value["each"][0] for figure, value in rows["student"].items()}
    figures = {
        "base_to_novel": rows,
        "below_teacher": round(hm["teacher"] - hm["student"], 2),
        "above_own_zero_shot": round(hm["student"] - hm["student zero-shot"], 2),
        "ablations": ablations(work, teacher, usual, given.quick),
        "seeds": list(seeds),
        "quick": given.quick,
    }
    record("quality_promptkd", figures, work / "quality_promptkd.json" if given.quick else None)


if __name__ == "__main__":
    main()
