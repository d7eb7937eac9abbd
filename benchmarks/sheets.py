"""Contact sheets of the four prompt strategies, and of other starts and generators: docs/pictures/strategies.png.

python benchmarks/sheets.py [--each 5] [--classes dog,car,tree] [--set synthesize.steps=50] [--out docs/pictures]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from promptstill.artifacts import ClassVectors
from promptstill.config import resolve
from promptstill.data.sheet import contact_sheet
from promptstill.engine import Stopper
from promptstill.models.clip import Clip, load_clip
from promptstill.models.generator import load_generator
from promptstill.models.painter import make_painter
from promptstill.settings import FromNames
from promptstill.stages.diversify import STRATEGIES, diversify
from promptstill.stages.synthesize import sample, synthesize
from promptstill.stages.teach import class_vectors
from record import record

OTHERS = {
    "random codes": ("synthesize.start=codes", "synthesize.smooth=0"),
    "plain sheet": ("synthesize.start=paper",),
    "no generator": ("generator=pixels", "synthesize.image_size=64"),
}


def painted(teacher: Clip, vectors: ClassVectors, settings: FromNames) -> tuple[dict[str, Any], dict[str, Any]]:
    """The images of each class, ungated, and what the two stages note."""
    made = diversify(teacher, settings.classes, settings.diversify, settings.seed, Stopper())
    painter = make_painter(teacher, load_generator(settings.generator), vectors, settings.synthesize, settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        figures = synthesize(painter, made.prompts, vectors, Path(folder), Stopper())
        return sample(Path(folder), settings.classes, settings.synthesize.sheet), made.figures | figures


def main() -> None:
    """Paint, and write two sheets and their figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--classes", default="dog,car,tree")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    teacher, names = load_clip("nano"), given.classes.split(",")
    base = {"synthesize": {"gate": False, "sheet": given.each}, "diversify": {"images_per_class": given.each}}
    strategies = {name: (f"diversify.strategy={name}",) for name in STRATEGIES}
    figures: dict[str, Any] = {}
    for picture, variants in (("strategies", strategies), ("starts", OTHERS)):
        rows: dict[str, list[Image.Image]] = {}
        for variant, sets in variants.items():
            settings = resolve(FromNames, {"classes": names, "out": "."}, base=base, overrides=[*given.set, *sets])
            vectors = class_vectors(teacher, settings.classes, settings.vectors)
            images, figures[variant] = painted(teacher, vectors, settings)
            rows |= {f"{variant}:{name}": own for name, own in images.items()}
            contact_sheet(rows, given.out / f"{picture}.png")
    record("sheets", figures, given.json)


if __name__ == "__main__":
    main()
