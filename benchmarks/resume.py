"""Kill -9 at random moments: a run that is killed and started again ends with the same bytes.

python benchmarks/resume.py [--kills 10] [--classes dog,house]
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record

KEPT = ("1-vectors/*.safetensors", "2-prompts/*.*l*", "3-images/*.parquet", "4-student/model.safetensors")


def digests(run: Path) -> dict[str, str]:
    """sha256 of every prompt, image and weight file of a run."""
    files = sorted(path for pattern in KEPT for path in run.glob(pattern))
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(out: Path, classes: str) -> subprocess.Popen[bytes]:
    """The demo's command in a process of its own."""
    command = [sys.executable, "-m", "promptstill", "from-names", "--classes", classes, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run once undisturbed, then once with kills, compare and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--classes", default="dog,cat,house,car,horse,tree,fish,umbrella,camera,bus")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    work, rng = Path(tempfile.mkdtemp()), random.Random(given.seed)
    began = time.perf_counter()
    if start(work / "whole", given.classes).wait():
        raise SystemExit("the undisturbed run failed")
    seconds = time.perf_counter() - began
    survived = 0
    for _ in range(given.kills):
        process = start(work / "killed", given.classes)
        try:
            survived += process.wait(timeout=rng.uniform(3, max(4, 0.35 * seconds))) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if start(work / "killed", given.classes).wait():
        raise SystemExit("the killed run did not finish")
    whole, killed = digests(work / "whole"), digests(work / "killed")
    figures = {
        "kills": given.kills - survived,
        "files": len(whole),
        "same": whole == killed,
        "seconds_undisturbed": round(seconds, 1),
    }
    record("resume", figures | {"seed": given.seed, "classes": given.classes})


if __name__ == "__main__":
    main()
