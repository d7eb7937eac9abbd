"""A finished student in another format, run back against its bundle: one that disagrees is not kept."""

import shutil
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from promptstill.artifacts import disk_full_is_an_error, log, write_json
from promptstill.data.benchmarks import Benchmark
from promptstill.data.images import Images, subset
from promptstill.engine import stream_seed, tracked
from promptstill.errors import DataError, UsageError
from promptstill.exporting import Export
from promptstill.models import exported
from promptstill.models.bundle import Bundle
from promptstill.models.exported import Exported, Folded, Graph
from promptstill.ops.preprocess import Preprocess, to_array, to_unit

PARITY = "parity.json"
GATES = {
    "onnx": {"top1_agreement": 99.9, "max_logit_difference": 1e-4},
    "torch-export": {"top1_agreement": 99.9, "max_logit_difference": 1e-4},
    "web": {"top1_agreement": 99.9, "max_logit_difference": 1e-4},
    "onnx-int8": {"top1_agreement": 98.0, "accuracy_drop": 0.5},
}
REMEDIES = {"onnx-int8": "give other images to --calibrate, or use --format onnx"}
FLOOR = -80.0  # log-probabilities below it are zero in fp32
LATENCY_BATCHES = (1, 32)

Extra = Callable[[Path], dict[str, Any]]  # writes what a format has beside its model, and says what about.json tells


@dataclass(frozen=True)
class Group:
    """Images to compare on, with the class index of each if they are labelled."""

    name: str
    images: Images
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Patterns:
    """Random coloured blocks, for a student without any image; image 7 is always the same."""

    count: int

    @property
    def ids(self) -> tuple[str, ...]:
        """One a pattern."""
        return tuple(f"pattern {index}" for index in range(self.count))

    def __len__(self) -> int:
        return self.count

    def data(self, index: int) -> bytes:
        """The pixels; patterns have no file."""
        return self.read(index).tobytes()

    def read(self, index: int) -> Image.Image:
        """Between 2 x 2 and 16 x 16 blocks on 96 px."""
        draws = np.random.default_rng(stream_seed(0, "pattern", index))
        side = int(draws.integers(2, 17))
        blocks = draws.integers(0, 256, (side, side, 3), dtype=np.uint8)
        return Image.fromarray(blocks).resize((96, 96), Image.Resampling.BILINEAR)


def groups_of(benchmark: Benchmark) -> list[Group]:
    """A benchmark's domains."""
    return [Group(title, domain.images, domain.labels) for title, domain in benchmark.domains.items()]


def spread(images: Images, count: int) -> Images:
    """At most ``count`` images, evenly spread over the set."""
    if len(images) <= count:
        return images
    return subset(images, [index * len(images) // count for index in range(count)])


def export(
    bundle: Bundle, settings: Export, groups: Sequence[Group], calibration: Images | None, extra: Extra | None = None
) -> dict[str, Any]:
    """Write ``settings.out`` whole or not at all; returns what stands in its ``parity.json``.

    INT8 gets 16-bit activations if the gate refuses 8-bit ones and the settings leave the choice.

    Raises:
        DataError: the export disagrees with the bundle, and the message says by how much.
    """
    if settings.format == "onnx-int8" and settings.activations is None:
        try:
            return _export(bundle, settings.model_copy(update={"activations": 8}), groups, calibration, extra)
        except DataError as error:
            log.warning("%s. Trying again with 16-bit activations", error)
            settings = settings.model_copy(update={"activations": 16})
    return _export(bundle, settings, groups, calibration, extra)


def _export(
    bundle: Bundle, settings: Export, groups: Sequence[Group], calibration: Images | None, extra: Extra | None
) -> dict[str, Any]:
    with whole_folder(settings.out) as part:
        write(bundle, settings, part, calibration, extra)
        figures = verify(part, bundle, settings, groups)
        write_json(part / PARITY, figures)
    return figures


def write(
    bundle: Bundle, settings: Export, folder: Path, calibration: Images | None = None, extra: Extra | None = None
) -> None:
    """The model and ``about.json``; nothing is checked."""
    output = "embeddings" if settings.format == "web" else "probabilities" if settings.probabilities else "logits"
    folded = Folded(settings.normalize, output)
    more = extra(folder) if extra else {}  # what can be refused comes before what takes long
    program = exported.trace(Graph(bundle, folded), bundle.student.architecture.preprocess.size)
    if settings.format == "torch-export":
        exported.save_torch(program, folder / "model.pt2")
        return exported.describe(bundle, folder, "model.pt2", folded)
    path = folder / "model.onnx"
    exported.save_onnx(program, output, exported.metadata(bundle), path)
    if settings.format == "onnx-int8":
        assert calibration is not None
        plain = path.replace(folder / "plain.onnx")
        more = {"fp32_bytes": plain.stat().st_size, "activations": settings.activations or 8}
        images = _calibration(bundle, settings, calibration)
        exported.quantise(plain, images, path, settings.activations or 8)
        plain.unlink()
    return exported.describe(bundle, folder, path.name, folded, bytes=path.stat().st_size, **more)


def _calibration(bundle: Bundle, settings: Export, images: Images) -> Iterator[np.ndarray]:
    pre = bundle.student.architecture.preprocess
    mean, std = (np.array(row, np.float32).reshape(-1, 1, 1) for row in (pre.mean, pre.std))
    chosen = spread(images, settings.calibration_images)
    for start in range(0, len(chosen), settings.batch_size):
        unit = _batch(chosen, start, settings.batch_size, pre).numpy()
        yield unit if settings.normalize else (unit - mean) / std


def _batch(images: Images, start: int, size: int, pre: Preprocess) -> Tensor:
    """Images ``start``, ``start + 1``, ... (B, 3, S, S) in [0, 1]."""
    stop = min(start + size, len(images))
    return to_unit(np.stack([to_array(images.read(index), pre) for index in range(start, stop)]))


# ------------------------------------------------------------------------------------------------------------- the gate


def verify(folder: Path, bundle: Bundle, settings: Export, groups: Sequence[Group]) -> dict[str, Any]:
    """Run an exported folder and its bundle on the same images.

    Raises:
        DataError: they disagree by more than ``GATES`` allows, or the folder says other labels or preprocessing.
    """
    found = Exported.open(folder)
    _refuse_words(found, bundle)
    figures = compare(found, bundle, groups, settings.batch_size)
    limits = GATES[settings.format]
    tests = {
        "top1_agreement": lambda value, limit: value >= limit,
        "max_logit_difference": lambda value, limit: value <= limit,
        "accuracy_drop": lambda value, limit: value <= limit,
    }
    for name, limit in limits.items():
        value = figures.get(name)
        if value is not None and not tests[name](value, limit):
            told = f"{name.replace('_', ' ')} {value:.6g}, allowed {limit:g}"
            said = f"the {settings.format} export disagrees with its student ({told}); nothing was kept"
            raise DataError(f"{said}: {REMEDIES.get(settings.format, 'please report it with the student')}")
    size = (folder / found.about["model"]).stat().st_size
    costs = {"bytes": size, "latency_ms": latency(bundle.module(), found, bundle.student.architecture.preprocess.size)}
    if "fp32_bytes" in found.about:
        costs["activations"] = found.about["activations"]
        costs["smaller_than_fp32"] = round(found.about["fp32_bytes"] / size, 2)
    return {"format": settings.format, "gates": limits, **figures, **costs}


def _refuse_words(found: Exported, bundle: Bundle) -> None:
    pre = bundle.student.architecture.preprocess
    if sorted(found.labels) != sorted(bundle.vectors.names):
        raise DataError(f"{found.folder} names other classes than the student; export it again")
    if Preprocess.load(found.about["preprocess"]) != pre:
        raise DataError(f"{found.folder} tells another preprocessing than the student's; export it again")


def compare(found: Exported, bundle: Bundle, groups: Sequence[Group], batch_size: int) -> dict[str, Any]:
    """Agreement of the best classes in %, the largest difference of a logit, and both accuracies if there are labels.

    Columns are matched by name, so a wrong order of labels is a disagreement.
    """
    module, pre, names = bundle.module(), bundle.student.architecture.preprocess, bundle.vectors.names
    order = [found.labels.index(name) for name in names]
    same, most, accuracies = [], 0.0, list[tuple[float, float]]()
    for group in groups:
        best = []
        for start in tracked(f"compare {group.name}", range(0, len(group.images), batch_size)):
            unit = _batch(group.images, start, batch_size, pre)
            with torch.no_grad():
                wanted = module(unit)
            got = torch.from_numpy(found.scores(unit.numpy()))[:, order]
            if found.about["output"] == "probabilities":
                wanted, got = wanted.log_softmax(-1).clamp(min=FLOOR), got.clamp(min=FLOOR)
            difference = float((wanted - got).abs().max())
            most = max(most, difference if np.isfinite(difference) else np.inf)
            best.append(torch.stack([wanted.argmax(-1), got.argmax(-1)]))
        student, export = torch.cat(best, dim=1)
        same.append(torch.eq(student, export).float())
        if group.labels is not None:
            truth = torch.tensor(group.labels)
            scored = [100 * float(torch.eq(row, truth).float().mean()) for row in (student, export)]
            accuracies.append((scored[0], scored[1]))
    agreement = 100 * float(torch.cat(same).mean())
    figures = {"images": sum(map(len, same)), "compared_on": [group.name for group in groups]}
    figures |= {"top1_agreement": round(agreement, 4), "max_logit_difference": most}
    return figures | _accuracy(accuracies)


def _accuracy(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Means over domains, and how many points the export has less."""
    if not pairs:
        return {}
    student, export = (statistics.fmean(column) for column in zip(*pairs, strict=True))
    return {"accuracy_student": student, "accuracy_export": export, "accuracy_drop": student - export}


def latency(module: nn.Module, found: Exported, size: int, runs: int = 7) -> dict[str, dict[str, float]]:
    """The best of several runs in ms, by batch size, of the student in eager PyTorch and of the export."""
    rows = {}
    for batch in LATENCY_BATCHES:
        images = np.random.default_rng(0).random((batch, 3, size, size), np.float32)
        tensor = torch.from_numpy(images)
        with torch.no_grad():
            spent = _alternate({"student": lambda x=tensor: module(x), "export": lambda x=images: found.run(x)}, runs)
        rows[f"batch_{batch}"] = {who: round(1000 * min(times), 3) for who, times in spent.items()}
    return rows


def _alternate(work: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of each, taken in turns so that a busy moment of the machine hits both; the first turn is thrown away."""
    spent: dict[str, list[float]] = {who: [] for who in work}
    for _ in range(runs + 1):
        for who, call in work.items():
            start = time.perf_counter()
            call()
            spent[who].append(time.perf_counter() - start)
    return {who: times[1:] for who, times in spent.items()}


@contextmanager
def whole_folder(out: Path) -> Generator[Path]:
    """A temporary neighbour of ``out`` that becomes it when the block ends well, and is removed when it does not.

    Raises:
        UsageError: ``out`` holds something, or cannot be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(f"{out} is not empty; choose another --out or delete it")
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out} ({error.strerror}); choose another --out") from None
    try:
        with disk_full_is_an_error(out.parent):
            yield part
            part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
