"""PromptKD here against a plain loop of the published algorithm: same models, same images, same batches, one run.

The plain loop encodes every class name and runs the teacher in every step, as the public code does. Times are seconds
of the processor on one thread, so that other work on the machine does not count; the best of several rounds.

python benchmarks/promptkd.py [--json FILE] [--quick]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from promptstill.artifacts import ClassVectors
from promptstill.data.images import Images, subset
from promptstill.data.labelled import open_unlabeled
from promptstill.data.teacher_store import open_store
from promptstill.data.views import Views
from promptstill.engine import Stopper, make_fabric
from promptstill.models.clip import Clip, load_clip
from promptstill.models.prompts import PromptedVisual, fresh_tokens
from promptstill.models.student import Architecture, Student, make_student
from promptstill.ops.losses import cosine_logits, kl
from promptstill.settings import PRESETS, Distill, Vectors
from promptstill.stages.distill import distill, prepare
from promptstill.stages.teach import class_vectors
from record import record

CLASSES, ROUNDS = (10, 100, 1000), 2
PAPER = PRESETS["from-images"]["paper"]["distill"] | {"views": 2, "epochs": ROUNDS + 1, "select": "last"}
SMALL_BATCH, LARGE_BATCH = PAPER["batch_size"], Distill().batch_size  # as published; as here by default


def names(count: int) -> tuple[str, ...]:
    """So many class names."""
    return tuple(f"thing number {number}" for number in range(count))


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Processor seconds of ``work``, the best of the rounds after the first, or the first alone."""
    spent = []
    for _ in range(rounds + 1):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent[1:] or spent)


class Plain:
    """The published algorithm, nothing kept: text tower, teacher and student in every step."""

    def __init__(self, teacher: Clip, student: Student, count: int) -> None:
        self.teacher, self.student, self.count = teacher, student, count
        learns = [p for p in student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(learns, lr=0.005, momentum=0.9, weight_decay=5e-4)
        self.ids = teacher.tokenizer([f"a photo of a {name}." for name in names(count)])

    def step(self, seen: Tensor, shown: Tensor) -> None:
        """One step on the teacher's and the student's view of a batch, (B, 3, S, S) each."""
        with torch.no_grad():
            encode: Any = self.teacher.model.encode_text
            vectors = encode(self.ids, normalize=True)
            soft_labels = cosine_logits(self.teacher.embed_images(seen), vectors, self.teacher.scale)
        logits = cosine_logits(self.student(shown), vectors, self.teacher.scale)
        loss = 1000 / self.count * kl(logits, soft_labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def epoch(self, theirs: Views, ours: Views, size: int, count: int) -> None:
        """One pass over the first ``count`` images."""
        self.student.train()
        for at in range(0, count, size):
            indices = range(at, min(at + size, count))
            self.step(theirs.batch(indices, 0), ours.batch(indices, 0))


class Bench:
    """A teacher, a student and images."""

    def __init__(self, images: Images, work: Path) -> None:
        self.images, self.work, self.teacher = images, work, load_clip("nano")

    def student(self) -> Student:
        """A fresh one."""
        return make_student("prompted:nano-student", self.teacher, None, None, 0, share=False)

    def views(self, size: int, interpolation: str = "bicubic") -> Views:
        """Views of the images."""
        return Views(self.images, 0, PAPER["crop"], True, size, interpolation)

    def vectors(self, count: int) -> ClassVectors:
        """Class vectors of so many names."""
        return class_vectors(self.teacher, names(count), Vectors())

    def plain(self, count: int, size: int) -> float:
        """Processor seconds of an epoch of the plain loop, from as many of its steps as take a few seconds."""
        student = self.student()
        loop, own, theirs = (
            Plain(self.teacher, student, count),
            student.architecture.preprocess,
            self.teacher.preprocess,
        )
        seen, shown = self.views(theirs.size, theirs.interpolation), self.views(own.size, own.interpolation)
        steps = max(2, 400 // count)
        done = min(steps * size, len(self.images))
        return len(self.images) / done * seconds(lambda: loop.epoch(seen, shown, size, done), 1)

    def here(self, count: int, size: int) -> float:
        """Processor seconds of an epoch here, its checkpoint included; the store is built before."""
        settings = Distill(**PAPER | {"batch_size": size, "views": 1})
        student, stopper, marks = self.student(), Stopper(), list[float]()
        lesson = prepare(
            self.teacher, student, self.images, self.vectors(count), settings, 0, self.work / "store", stopper
        )
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            mark: Any = lambda *_, **__: marks.append(time.process_time())  # noqa: E731
            distill(student, lesson, make_fabric("cpu"), Path(folder), stopper, mark)
        return min(late - early for early, late in pairwise(marks))

    def bare(self, size: int) -> float:
        """Processor seconds of the student's forward and backward alone, for all images."""
        student = self.student().train()
        own = student.architecture.preprocess
        batches = self.views(own.size, own.interpolation).every([0], size=size)
        kept = list(batches)

        def work() -> None:
            for batch in kept:
                student.zero_grad()
                student(batch).sum().backward()

        return seconds(work)

    def store(self) -> dict[str, float]:
        """Images a second of the store's build, and of the teacher alone on batches that are there already."""
        theirs, rates = self.teacher.preprocess, dict[str, float]()
        batches = list(self.views(theirs.size, theirs.interpolation).every([0]))
        with torch.no_grad():
            rates["bare"] = len(self.images) / seconds(lambda: [self.teacher.embed_images(b) for b in batches])
        rounds = iter(range(100))

        def build() -> None:
            views = self.views(theirs.size, theirs.interpolation)
            place = self.work / f"build{next(rounds)}"
            open_store(place, views, 1, self.teacher.embed_images, self.teacher.hash, Stopper())

        return rates | {"build": len(self.images) / seconds(build)}


def real_sizes(count: int, size: int) -> dict[str, float]:
    """Seconds of one step at the paper's sizes, random weights: the plain loop's, and ours with the store built."""
    teacher, base = (_random_clip(name) for name in ("ViT-L-14", "ViT-B-16"))
    facts = (base.config, base.dim, teacher.dim, base.preprocess, "random")
    stream = torch.Generator().manual_seed(0)
    backbone = PromptedVisual(base.visual, fresh_tokens(9, 4, base.config["vision_cfg"]["width"], stream))
    student = Student(Architecture("prompted:ViT-B-16", "prompted", *facts, prompts=(9, 4)), backbone).train()
    plain, batch = Plain(teacher, student, count), torch.rand(size, 3, 224, 224)
    target, vectors = torch.rand(size, teacher.dim), torch.rand(count, teacher.dim)

    def here() -> None:
        loss = kl(cosine_logits(student(batch), vectors, 100.0), cosine_logits(target, vectors, 100.0))
        loss.backward()
        plain.optimizer.step()
        plain.optimizer.zero_grad()

    spent = {"here": seconds(here, 0), "plain": seconds(lambda: plain.step(batch, batch), 0)}
    return {"speedup": spent["plain"] / spent["here"], "classes": count, "batch": size} | spent


def _random_clip(name: str) -> Clip:
    config = dict(open_clip.get_model_config(name) or {})
    return Clip(name, open_clip.create_model(name), open_clip.get_tokenizer(name), config)


def peak_memory(which: str, count: int, images: int) -> float:
    """Megabytes that a process of its own needs at most beside libraries, teacher and images (Linux)."""
    command = [sys.executable, __file__, "--only", which, "--classes", str(count), "--images", str(images)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["megabytes"])


def only(which: str, count: int, bench: Bench) -> None:
    """Run one of the two loops and print the most memory that this process took for it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = resident("VmRSS")
    if which == "plain":
        bench.plain(count, SMALL_BATCH)
    else:
        bench.here(count, SMALL_BATCH)
    sys.stdout.write(json.dumps({"megabytes": resident("VmHWM") - before}) + "\n")


def resident(which: str) -> float:
    """Megabytes of this process in memory: now (``VmRSS``), or at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(which))


def measure(bench: Bench, quick: bool) -> dict[str, Any]:
    """All figures."""
    count, store = len(bench.images), bench.store()
    here = {k: bench.here(k, SMALL_BATCH) for k in CLASSES}
    plain = {k: bench.plain(k, SMALL_BATCH) for k in CLASSES}
    bare = {size: bench.bare(size) for size in (SMALL_BATCH, LARGE_BATCH)}
    large = bench.here(100, LARGE_BATCH)
    memory = {which: peak_memory(which, 1000, min(count, 16)) for which in ("plain", "here")}
    return {
        "speedup": {str(k): round(plain[k] / here[k], 2) for k in CLASSES},
        "store_build_ratio": round(store["build"] / store["bare"], 3),
        "step_overhead": round(large / bare[LARGE_BATCH], 3),
        "step_overhead_small_batch": round(here[100] / bare[SMALL_BATCH], 3),
        "growth_10_1000": round(here[1000] / here[10] - 1, 3),
        "peak_memory_ratio": round(memory["here"] / memory["plain"], 3),
        "images_per_second": {
            "plain": {str(k): round(count / plain[k], 1) for k in CLASSES},
            "here": {str(k): round(count / here[k], 1) for k in CLASSES},
            "store build": round(store["build"], 1),
            "teacher alone": round(store["bare"], 1),
        },
        "peak_megabytes": {name: round(value) for name, value in memory.items()},
        "batch": {"speedup": SMALL_BATCH, "step_overhead": LARGE_BATCH},
        "images": count,
        "real_sizes": {} if quick else {k: round(v, 2) for k, v in real_sizes(100, 2).items()},
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, default=None, help="write here, not to results/promptkd.json")
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--quick", action="store_true", help="leave the real sizes out")
    parser.add_argument("--only", choices=["plain", "here"], default=None, help="print one loop's peak memory")
    parser.add_argument("--classes", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    everything = open_unlabeled("pictograms")
    images = subset(everything, range(min(given.images, len(everything))))
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(images, Path(work))
        if given.only:
            only(given.only, given.classes, bench)
        else:
            record("promptkd", measure(bench, given.quick), given.json)


if __name__ == "__main__":
    main()
