"""Real photographs: any open_clip directory as teacher, unlabeled pictures, a small timm student; accuracy and speed.

python benchmarks/photographs.py --teacher dir:CLIP --images FOLDER --student-weights FILE [--work FOLDER]

``FOLDER`` holds ``CLASS/*``. Half of each class, every second picture, is learned from without its labels, the other
half is tested on; nothing is selected on it. ``FILE`` is a state dict of the student's architecture with ImageNet
weights; if its names are another library's, the tensors are taken in their order and every shape is compared.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import promptstill
from promptstill.data.labelled import open_labelled
from promptstill.errors import DataError
from promptstill.models.bundle import load_bundle
from promptstill.models.teachers import load_teacher
from promptstill.ops.cost import cost
from record import record

COUNTERS = "num_batches_tracked"


def halves(source: Path, target: Path) -> None:
    """Links to the pictures: ``target/train`` and ``target/test``, alternating in every class."""
    data = open_labelled(f"dir:{source}", "train")
    seen: dict[int, int] = {}
    for name, label in zip(data.images.ids, data.labels, strict=True):
        seen[label] = seen.get(label, 0) + 1
        link = target / ("test" if seen[label] % 2 else "train") / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((source / name).absolute())


def in_order(arch: str, path: Path, target: Path) -> Path:
    """A state dict with timm's names: the file itself, or its tensors in their order if it has other names."""
    state = (
        load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    )
    wanted = timm.create_model(arch).state_dict()
    if {name for name in wanted if COUNTERS not in name} <= set(state):
        return path
    names, given = ([k for k in rows if COUNTERS not in k] for rows in (wanted, state))
    if [wanted[k].shape for k in names] != [state[k].shape for k in given]:
        raise DataError(f"{path} does not fit timm's {arch}, neither by names nor in order; give its own weights")
    renamed = wanted | {name: state[old].contiguous() for name, old in zip(names, given, strict=True)}
    save_file(renamed, target)
    return target


@torch.no_grad()
def speed(embed: Callable[[Tensor], Tensor], size: int, batch: int = 16, rounds: int = 10) -> float:
    """Images a second of a forward pass, in processor time; the best of some batches after a first one."""
    images, spent = torch.rand(batch, 3, size, size), list[float]()
    for _ in range(rounds + 1):
        began = time.process_time()
        embed(images)
        spent.append(time.process_time() - began)
    return batch / min(spent[1:])


def main() -> None:
    """Distil, or continue, and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--teacher", required=True, help="dir:PATH of an open_clip directory, or any other teacher")
    parser.add_argument("--images", type=Path, required=True, help="a folder CLASS/* of photographs")
    parser.add_argument("--arch", default="tf_efficientnet_lite0", help="the student, a timm architecture")
    parser.add_argument("--student-weights", type=Path, required=True, help="its ImageNet weights")
    parser.add_argument("--size", type=int, default=128, help="side of the student's input, pixels")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--train", default="projector", help="projector | all")
    parser.add_argument("--work", type=Path, default=None, help="keep the run here, and go on with it")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    halves(given.images, work / "photographs")
    uri = f"dir:{work / 'photographs'}"
    sets = {"image_size": given.size, "views": given.views, "epochs": given.epochs, "train": given.train}
    out = work / f"run-{given.train}-{given.epochs}-{given.views}-{given.size}"
    report = promptstill.from_images(
        uri,
        [name.replace("_", " ") for name in open_labelled(uri, "train").classes],
        out,
        teacher=given.teacher,
        student=f"timm:{given.arch}",
        student_weights=in_order(given.arch, given.student_weights, work / "student.safetensors"),
        benchmark=uri,
        store=work / "stores",
        set=[f"distill.{key}={value}" for key, value in sets.items()],
    )
    content = report.content
    teacher, student = load_teacher(given.teacher), load_bundle(out).student
    rates = {"teacher": speed(teacher.embed_images, teacher.preprocess.size), "student": speed(student, given.size)}
    mean = content["evaluation"]["mean"]
    figures = {
        "accuracy": {who: round(mean[who], 2) for who in ("teacher", "student")},
        "below_teacher": round(mean["teacher"] - mean["student"], 2),
        "images_per_second": {who: round(rate, 1) for who, rate in rates.items()},
        "speedup": round(rates["student"] / rates["teacher"], 2),
        "macs": {
            "teacher": cost(teacher.visual, teacher.preprocess.size)["macs"],
            "student": cost(student, given.size)["macs"],
        },
        "seconds": {name: notes["seconds"] for name, notes in content["stages"].items()},
        "classes": content["evaluation"]["classes"],
        "images": {split: len(open_labelled(uri, split)) for split in ("train", "test")},
        "distill": sets,
        "threads": torch.get_num_threads(),
    }
    record("photographs", figures)


if __name__ == "__main__":
    main()
