"""A student from names, fine-tuned on few labelled pictograms, beside the same one undistilled; t-SNE of both.

python benchmarks/few_shot.py [--student RUN] [--seeds 5] [--work FOLDER] [--pictures FOLDER]

Without ``--student`` a student of the demo's ten classes is distilled first, by the preset ``fast``.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import promptstill
from main_job import DEMO
from promptstill.measuring import FewShot
from promptstill.pipelines.few_shot import run
from record import record


def main() -> None:
    """Fine-tune, measure and record; copy the curves and the maps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--student", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=None, help="keep the runs here, and go on with those that are")
    parser.add_argument("--pictures", type=Path, default=None, help="copy few-shot.png and features.png to this folder")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp())
    student = given.student or work / "student"
    if not given.student:
        promptstill.from_names(DEMO, student, benchmark="pictograms")
    seeds = tuple(range(1, given.seeds + 1))
    found = run(FewShot(student=student, data="pictograms", out=work / "few-shot", seeds=seeds))
    if given.pictures:
        shutil.copy(work / "few-shot" / "curves.png", given.pictures / "few-shot.png")
        shutil.copy(work / "few-shot" / "features.png", given.pictures / "features.png")
    record("few_shot", {"shots": found["shots"], "features": found["features"], "seeds": list(seeds)})


if __name__ == "__main__":
    main()
