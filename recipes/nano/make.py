"""The whole recipe in one command: fetch, render, split, train, put in place, measure.

    python recipes/nano/make.py [WORK]            WORK is build/nano unless given; takes hours, in the background
    python recipes/nano/make.py WORK --rehearse   every step, hardly any training, in its own WORK; installs nothing

Every step skips what is done and goes on where it stopped, so the same command continues after an interruption.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ASSETS = ROOT / "src" / "promptstill" / "assets"

STEPS = {
    "icons": ["icons.py"],  # fetch and render: 4 minutes on two cores
    "pictograms": ["pictograms.py"],  # the benchmark, from held-out sets
    "text": ["text.py"],  # sentence encoder's space, bank, text tower
    "teacher": ["towers.py", "teacher"],  # its image tower
    "sight": ["sight.py"],  # the text tower moves towards what drawings look like
    "student": ["towers.py", "student"],  # its image tower, which follows the teacher
    "vqgan": ["vqgan.py"],  # the generator
}


REHEARSAL = {
    "text": ["30"],
    "teacher": ["--minutes", "0.5"],
    "sight": ["20"],
    "student": ["--minutes", "0.5"],
    "vqgan": ["0.5"],
}


def run(script: list[str], work: Path) -> None:
    """One step in a process of its own, so that its memory is given back."""
    print("==", *script, flush=True)
    name, *arguments = script
    subprocess.run([sys.executable, str(HERE / name), str(work), *arguments], check=True, cwd=HERE)


ABOUT = {
    "image_size": 64,
    "licence": "Apache-2.0",
    "trained_on": "pictograms rendered from permissively licensed icon sets (NOTICE-ICONS.md), none of the benchmark's",
}


def install(work: Path) -> None:
    """Copy what was made into the package."""
    (work / "assets" / "nano-vqgan" / "about.json").write_text(json.dumps(ABOUT, indent=2))
    for name in ("nano", "nano-student", "nano-vqgan"):
        shutil.copytree(work / "assets" / name, ASSETS / name, dirs_exist_ok=True)
    (ASSETS / "pictograms").mkdir(exist_ok=True)
    for name in ("pictograms.json", "test.parquet", "train.parquet"):
        shutil.copy(work / "pictograms" / name, ASSETS / "pictograms" / name)
    notice = [sys.executable, str(HERE / "notice.py"), str(work), str(ROOT / "NOTICE-ICONS.md")]
    subprocess.run(notice, check=True, cwd=HERE)


def main() -> None:
    """Go through all steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, nargs="?", default=ROOT / "build" / "nano")
    parser.add_argument("--rehearse", action="store_true", help="next to no training, nothing installed")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name, script in STEPS.items():
        run([*script, *(REHEARSAL.get(name, []) if arguments.rehearse else [])], work)
    run(["towers.py", "export"], work)
    if not arguments.rehearse:
        install(work)
        run(["measure.py"], work)


if __name__ == "__main__":
    main()
