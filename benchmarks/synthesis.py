"""Surrogate images by the published settings against ``fast``, in one run with the same models; the cost of a step; the
gain of cutting texts after their end.

python benchmarks/synthesis.py [--json FILE] [--each 2] [--published-steps 500] [--seeds 3] [--prices] [--work FOLDER]

``--prices`` instead changes ``fast`` in one setting at a time: what each costs in seconds, recognition and accuracy, in
a file of its own. Times are of the processor on one thread, so that other work on the machine does not count.
The published settings take 500 steps of 32 cutouts an image. With a smaller --published-steps the images are
painted with fewer, and the time of 500 is computed from the measured time a step: the JSON says so in ``published``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

import promptstill
from main_job import DEMO
from promptstill.artifacts import Prompts
from promptstill.engine import Stopper, stream
from promptstill.models.clip import Clip, load_clip
from promptstill.models.generator import load_vqgan
from promptstill.models.painter import Finished, Painter
from promptstill.models.text import PLACEHOLDER, TextTower
from promptstill.ops.templates import fill
from promptstill.settings import PRESETS, Diversify, FromNames, Synthesize, Vectors
from promptstill.stages.diversify import diversify, start_words
from promptstill.stages.synthesize import synthesize
from promptstill.stages.teach import class_vectors
from record import record

PAPER = PRESETS["from-names"]["paper"]["synthesize"]
PRICED: dict[str, dict[str, Any]] = {
    "fast": {},
    "cutouts=1": {"cutouts": 1},
    "sure=0.9": {"sure": 0.9},
    "coarse=0.4": {"coarse": 0.4},
    "warm_steps=20": {"warm_steps": 20},
    "propose_steps=20": {"propose_steps": 20},
    "precision=bf16-mixed": {"precision": "bf16-mixed"},
    "start=codes, smooth=0": {"start": "codes", "smooth": 0.0},
    "settled=0.03": {"settled": 0.03},
}
PRICED_EACH, PRICED_SHARD = 5, 16  # images a class; prompts a shard: later shards use the earlier ones


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> float:
    """Median over rounds of our time over theirs, measured in turns, so that other work falls on both."""
    ours(), theirs()
    return statistics.median(seconds(ours) / seconds(theirs) for _ in range(rounds))


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def step_overhead(painter: Painter, prompts: Prompts, rounds: int) -> float:
    """A whole step over the bare forward and backward of generator and tower at the same batch."""
    rows = range(min(painter.settings.batch_size, len(prompts.labels)))
    slots = painter.begin(prompts, [painter.job(prompts, row, Finished()) for row in rows])
    model, size = painter.generator.model, painter.teacher.preprocess.size
    codes = slots.z.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last).requires_grad_()
    pixels = torch.rand(len(rows) * painter.settings.cutouts, 3, size, size)
    pixels = pixels.contiguous(memory_format=torch.channels_last).requires_grad_()

    def bare() -> None:
        torch.autograd.grad(model.decode(codes, force_not_quantize=True).sample.sum(), codes)
        torch.autograd.grad(painter.teacher.visual(pixels).sum(), pixels)

    return ratio(lambda: painter.step(slots), bare, rounds)


def text_speedup(clip: Clip, prompts: int, rounds: int) -> float:
    """Forward and backward of pseudo-words over the full context, over the same cut after the end."""
    tower, names = TextTower(clip), DEMO[:prompts]
    ids = tower.tokens([f"{fill(Diversify().template, name)} {PLACEHOLDER}" for name in names])
    words = start_words(tower, 10.0, [stream(0, "text", i) for i in range(len(ids))]).requires_grad_()
    full = torch.nn.functional.pad(ids, (0, len(tower.positions) - ids.shape[1]))

    def whole(words: Tensor) -> Tensor:
        ends, each = tower.ends(full), torch.arange(len(full))
        rows = tower.token_embedding(full).index_put((each, ends - 1), words)
        hidden = tower.blocks(rows + tower.positions, attn_mask=tower.mask)
        return tower.norm(hidden[each, ends])

    def cut(words: Tensor) -> Tensor:
        return tower.encode(ids, words)

    return ratio(lambda: _backward(whole, words), lambda: _backward(cut, words), rounds)


def _backward(encode: Callable[[Tensor], Tensor], words: Tensor) -> None:
    torch.autograd.grad(encode(words).square().sum(), words)


def published_text_tower() -> Clip:
    """A text tower of ViT-B/32's size and context of 77; the weights are random, which costs the same time."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 32}
    model = open_clip.CLIP(embed_dim=512, vision_cfg=vision, text_cfg=text)
    open_clip.set_model_preprocess_cfg(model, {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    return Clip("ViT-B/32's text tower", model, open_clip.SimpleTokenizer(), {"embed_dim": 512})


def painted(teacher: Clip, settings: Synthesize, each: int, folder: Path) -> dict[str, Any]:
    """Paint ``each`` images of every class with the plain prompt; what the stage notes, and processor seconds."""
    vectors = class_vectors(teacher, DEMO, Vectors(templates=("A {}",)))
    prompts = diversify(teacher, DEMO, Diversify(strategy="baseline", images_per_class=each), 0, Stopper()).prompts
    folder.mkdir(parents=True, exist_ok=True)
    painter = Painter(teacher, load_vqgan("nano-vqgan"), vectors, settings, 0)
    start = time.process_time()
    figures = synthesize(painter, prompts, vectors, folder, Stopper())
    return figures | {"seconds": time.process_time() - start}


def accuracies(images: Path, seeds: int, work: Path) -> list[float]:
    """Mean accuracy over domains of students distilled on the images, one a seed; the settings are from-names'."""
    own = FromNames(classes=DEMO, out=work)
    given = {"benchmark": "pictograms", "distill": own.distill.model_dump(), "vectors": own.vectors.model_dump()}
    source = images / "shard-*.parquet"
    reports = [promptstill.from_images(source, DEMO, work / f"seed-{s}", seed=s, **given) for s in range(seeds)]
    return [report.content["evaluation"]["mean"]["student"] for report in reports]


def prices(teacher: Clip, seeds: int, work: Path) -> dict[str, dict[str, Any]]:
    """What becomes of ``fast`` if one setting is another: seconds an image, recognition, accuracy of students."""
    fast, found = FromNames(classes=DEMO, out=work).synthesize, dict[str, dict[str, Any]]()
    for name, change in PRICED.items():
        settings = Synthesize(**(fast.model_dump() | {"shard_size": PRICED_SHARD, "sheet": PRICED_EACH} | change))
        row = painted(teacher, settings, PRICED_EACH, work / name)
        found[name] = {
            "seconds_an_image": round(row["seconds"] / (len(DEMO) * PRICED_EACH), 3),
            "mean_steps": row["mean_steps"],
            "teacher_agreement": row["recognised_by_teacher"],
            "spread": row["within_classes"],
            "student_accuracy": accuracies(work / name, seeds, work / f"students-{name}"),
        }
    return found


def main() -> None:
    """Paint by both settings, distil on both, time the step and the text, and record; or price the savings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--each", type=int, default=2, help="images a class, by either settings")
    parser.add_argument("--published-steps", type=int, default=PAPER["steps"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--prices", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    work, teacher = given.work or Path(tempfile.mkdtemp()), load_clip("nano")
    if given.prices:
        record("synthesis_prices", {"prices": prices(teacher, given.seeds, work)}, given.json)
        return
    paper = Synthesize(**(PAPER | {"steps": given.published_steps, "shard_size": 8, "sheet": given.each}))
    sets = {"published": paper, "fast": FromNames(classes=DEMO, out=work).synthesize}
    found = {name: painted(teacher, chosen, given.each, work / name) for name, chosen in sets.items()}
    students = {name: accuracies(work / name, given.seeds, work / f"students-{name}") for name in sets}
    spent = {name: found[name]["seconds"] / (len(DEMO) * given.each) for name in sets}
    spent["published"] *= PAPER["steps"] / given.published_steps
    prompts = diversify(teacher, DEMO, Diversify(images_per_class=4), 0, Stopper()).prompts
    vectors = class_vectors(teacher, DEMO, Vectors(templates=("A {}",)))
    painter = Painter(teacher, load_vqgan("nano-vqgan"), vectors, sets["fast"], 0)
    whole = given.published_steps == PAPER["steps"]
    told = "measured whole" if whole else f"{given.published_steps} steps measured, time multiplied up to 500"
    means = {name: statistics.fmean(values) for name, values in students.items()}
    figures = {
        "speedup": round(spent["published"] / spent["fast"], 1),
        "student_accuracy_change": round(means["fast"] - means["published"], 2),
        "step_overhead": round(step_overhead(painter, prompts, given.rounds), 3),
        "text_speedup": round(text_speedup(published_text_tower(), 10, given.rounds), 2),
        "text_speedup_nano": round(text_speedup(teacher, 10, given.rounds), 2),
        "published": told,
        "images": {name: found[name]["images"] for name in sets},
        "seconds_an_image": {name: round(value, 3) for name, value in spent.items()},
        "teacher_agreement": {name: found[name]["recognised_by_teacher"] for name in sets},
        "student_accuracy": students,
    }
    record("synthesis", figures, given.json)


if __name__ == "__main__":
    main()
