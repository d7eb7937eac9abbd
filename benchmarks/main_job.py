"""Both pipelines with the embedded models: from-images (best) on all classes over seeds, from-names on the demo's ten.

python benchmarks/main_job.py [--seeds 3] [--work FOLDER]
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import promptstill
from promptstill.data.benchmarks import load_benchmark
from record import record

DEMO = ("dog", "cat", "house", "car", "horse", "tree", "fish", "umbrella", "camera", "bus")


def summary(reports: list[Any]) -> dict[str, Any]:
    """Means over runs of the mean over domains, teacher and student, with the spread and the time."""
    means = [report.content["evaluation"]["mean"] for report in reports]
    students = [row["student"] for row in means]
    return {
        "teacher": round(means[0]["teacher"], 2),
        "student": round(statistics.fmean(students), 2),
        "student_each": [round(value, 2) for value in students],
        "gap": round(means[0]["teacher"] - statistics.fmean(students), 2),
        "classes": reports[0].content["evaluation"]["classes"],
        "domains": reports[0].content["evaluation"]["domains"],
        "chance": reports[0].content["evaluation"]["chance"],
        "seconds": {name: notes["seconds"] for name, notes in reports[0].content["stages"].items()},
        "recognised_by_teacher": reports[0].content["stages"]["3-images"].get("recognised_by_teacher"),
    }


def main() -> None:
    """Run, measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=None, help="keep the runs here")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp())
    every, seeds, measure = load_benchmark("pictograms").classes, range(given.seeds), {"benchmark": "pictograms"}
    best = {"preset": "best", **measure}
    images = [promptstill.from_images("pictograms", every, work / f"images-{s}", seed=s, **best) for s in seeds]
    names = [promptstill.from_names(DEMO, work / f"names-{s}", seed=s, **measure) for s in range(1)]
    record("main_job", {"from-images": summary(images), "from-names": summary(names), "seeds": list(seeds)})


if __name__ == "__main__":
    main()
