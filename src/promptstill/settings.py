"""Every setting of the two pipelines: frozen, closed, validated at once.

They stand together, and not beside the stages that read them, because the command line is made from them and must
answer ``--help`` without importing torch. Each class names its reader.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from promptstill.config import Settings
from promptstill.distilling import DFKD, PROMPTKD, Distill
from promptstill.errors import UsageError
from promptstill.naming import Names, check_several


def check_template(template: str) -> str:
    """A text with exactly one hole for the class name."""
    if template.count("{}") != 1:
        raise ValueError(f"template {template!r} needs exactly one {{}} for the class name")
    return template


Template = Annotated[str, AfterValidator(check_template)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

TEMPLATE_SETS = (  # what data.templates has under a name
    "imagenet-60",
    "imagenet-80",
    "OxfordPets",
    "OxfordFlowers",
    "FGVCAircraft",
    "DescribableTextures",
    "EuroSAT",
    "Food101",
    "UCF101",
)


def check_template_or_set(text: str) -> str:
    """A text with exactly one hole, or the name of a set of such texts."""
    if "{}" in text or text in TEMPLATE_SETS:
        return check_template(text) if "{}" in text else text
    near = difflib.get_close_matches(text, TEMPLATE_SETS, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"template {text!r}{hint} needs exactly one {{}} for the class name, or is {set_names()}")


def set_names() -> str:
    """The names of the sets of templates, to be read."""
    return " | ".join(TEMPLATE_SETS)


TemplateOrSet = Annotated[str, AfterValidator(check_template_or_set)]


class Vectors(Settings):
    """How class names become class vectors; read by ``stages.teach``."""

    templates: tuple[TemplateOrSet, ...] = Field(
        default=("a photo of a {}.",),
        min_length=1,
        description=f"texts with a hole, averaged, or names of sets: {set_names()}; learned text prompts need none",
    )
    weights: Literal["equal", "confidence"] = Field(
        default="equal", description="of the members of a teacher A+B; confidence: as sure as each is of a picture"
    )


class Tune(Settings):
    """Learning a teacher's prompts on few labels (PromptSRC); read by ``stages.tune``."""

    towers: Literal["auto", "both", "visual", "text"] = Field(
        default="auto", description="which towers get prompts; auto: those that can take them"
    )
    depth: int = Field(default=9, ge=1, description="blocks of a tower that get prompts, or all if it has fewer")
    length: int = Field(default=4, ge=1, description="prompt tokens in each of these blocks")
    words: str = Field(
        default="a photo of a", description="words before the class name that the first text prompts begin as; '': none"
    )
    epochs: int = Field(default=20, ge=1, description="passes over the labelled images")
    batch_size: int = Field(default=8, ge=1, description="images a step")
    lr: float = Field(default=0.005, gt=0, description="SGD's rate at the top of the cosine; the first epoch has 1e-5")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="SGD's momentum")
    weight_decay: float = Field(default=5e-4, ge=0, description="SGD's weight decay")
    ce: float = Field(default=1.0, ge=0, description="weight of the cross-entropy with the labels")
    text: float = Field(default=25.0, ge=0, description="weight of the distance from the frozen class vectors")
    image: float = Field(default=10.0, ge=0, description="weight of the distance from the frozen image features")
    logits: float | None = Field(
        default=None, ge=0, description="weight of the KL from the frozen soft labels; 1/K if not given, as published"
    )
    templates: tuple[TemplateOrSet, ...] = Field(
        default=("imagenet-60",), min_length=1, description="templates of the frozen class vectors, or names of sets"
    )
    average_at: float = Field(default=15.0, description="epoch round which the prompts are averaged at the end")
    average_over: float = Field(default=1.0, gt=0, description="standard deviation of that average, in epochs")
    views: int = Field(default=5, ge=1, description="views an image; epochs go round them")
    crop: float = Field(default=0.5, gt=0, le=1, description="smallest share of the picture's area in a view")
    flip: bool = Field(default=True, description="mirror half of the views")
    chunk: int = Field(default=64, ge=1, description="texts that go through the text tower together; bounds the memory")


class Contrast(Settings):
    """How pseudo-words are pushed apart; read by the strategy contrastive."""

    steps: int = Field(default=100, ge=1, description="descent steps of each batch")
    lr: float = Field(default=0.1, gt=0, description="Adam's learning rate on the pseudo-words")
    batch_size: int = Field(default=256, ge=1, description="prompts pushed together")
    tau: float = Field(default=0.1, gt=0, description="temperature of the contrastive loss")
    bank: int = Field(default=40960, ge=0, description="most past prompts kept as negatives, first in first out")
    negatives: int = Field(default=2048, ge=0, description="past prompts drawn for each step")
    in_batch: Literal["attached", "detached", "none"] = Field(
        default="attached", description="the batch's other prompts as negatives, with or without gradient through them"
    )
    within_class: bool = Field(default=False, description="only prompts of the same class are negatives")
    include_positive: bool = Field(default=False, description="count the positive in the loss's sum (InfoNCE)")
    positive: Literal["shuffle", "substitute"] = Field(
        default="shuffle", description="the positive's template: its letters shuffled, or some replaced"
    )
    substitutions: int = Field(default=3, ge=1, description="letters that substitute replaces")
    stop_gradient: bool = Field(default=False, description="no gradient through the positive")
    anchor: float = Field(default=1.0, ge=0, description="weight of the cross-entropy that keeps the class; paper: 0")
    schedule: Literal["batch", "joint"] = Field(
        default="batch", description="batch: all steps of one batch, then the next; joint: one step of each, in rounds"
    )


Strategy = Literal["baseline", "mix", "random", "contrastive"]


class Diversify(Settings):
    """What steers each surrogate image; read by ``stages.diversify``."""

    strategy: Strategy = Field(
        default="baseline", description="'A [CLS]' for all | two styles mixed | drawn pseudo-words | these pushed apart"
    )
    images_per_class: int = Field(default=20, ge=1, description="surrogate images for each class")
    template: Template = Field(default="{} in the style of", description="the words before a style")
    styles: str = Field(default="paper", description="paper (86) | strict (none that names a test domain) | FILE.txt")
    spread: float = Field(default=10.0, ge=0, description="e of eq. 10: how far pseudo-words are drawn from the mean")
    picture: bool = Field(default=True, description="draw a t-SNE map of the prompts, 2-prompts/map.png")
    contrast: Contrast = Contrast()


class Synthesize(Settings):
    """How prompts become surrogate images; read by ``stages.synthesize`` and ``models.painter``."""

    steps: int = Field(default=50, ge=1, description="optimiser steps an image, at most")
    lr: float = Field(default=0.15, gt=0, description="Adam's learning rate on the latent")
    cutouts: int = Field(default=2, ge=1, description="augmented cutouts an image and step")
    noise: float = Field(default=0.1, ge=0, description="most noise added to a cutout, uniform from 0")
    batch_size: int = Field(default=16, ge=1, description="images optimised together")
    shard_size: int = Field(default=64, ge=1, description="prompts a file; what is lost at most by an interruption")
    image_size: int | None = Field(default=None, ge=8, description="side of the images; the generator's own by default")
    start: Literal["codes", "paper", "shapes"] = Field(
        default="shapes", description="first latent: random codes | a light plain sheet | a sheet with random shapes"
    )
    smooth: float = Field(default=1.0, ge=0, description="weight of the image's total variation in the loss")
    keep_class: float = Field(default=0.0, ge=0, description="weight of the cross-entropy to the image's class")
    coarse: float = Field(default=0.0, ge=0, lt=1, description="share of the steps that are done at half the size")
    settled: float = Field(
        default=0.0, ge=0, description="stop an image whose mean loss falls by less in 10 steps; 0: no"
    )
    sure: float = Field(
        default=0.0, ge=0, lt=1, description="stop an image when the teacher is that sure of its class, 0 to 1; 0: no"
    )
    warm_steps: int = Field(
        default=0, ge=0, description="steps of an image that starts from a finished one of its class; 0: none does"
    )
    propose_steps: int = Field(
        default=0,
        ge=0,
        description="steps of an image that starts where a network taught by the run's first images says; 0: no",
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        default="32-true", description="of generator and teacher; latents, codes, distances and Adam are in fp32 always"
    )
    gate: bool = Field(default=True, description="drop images that the teacher calls by another class of the run")
    text_steps: int = Field(default=4, ge=1, description="denoising steps of a text-to-image generator")
    guidance: float = Field(default=2.0, ge=0, description="classifier-free guidance of a text-to-image generator")
    sheet: int = Field(default=8, ge=0, description="images a class on the contact sheet; 0: no sheet")


class Evaluate(Settings):
    """Measurement; read by ``stages.evaluate``."""

    batch_size: int = Field(default=128, ge=1, description="images a forward pass")
    other_classes: bool = Field(
        default=True, description="also report the student, re-targeted, on the benchmark's other classes"
    )


class RunSettings(Settings):
    """What both pipelines share."""

    classes: Annotated[Names, AfterValidator(check_several)] = Field(
        description="class names: a,b,c or a .txt file with one a line"
    )
    out: Path = Field(description="run folder; continued if it holds this run, refused if it holds another")
    teacher: str = Field(
        default="nano", description="nano | openclip:MODEL/TAG | dir:PATH | hf:ORG/REPO@REV | prompted:FOLDER | A+B"
    )
    student: str = Field(default="nano-student", description="nano-student | prompted:CLIP-URI | timm:ARCH[.TAG]")
    student_weights: Path | None = Field(default=None, description="a local checkpoint file for the student's backbone")
    benchmark: str | None = Field(default=None, description="measure on it at the end: pictograms | dir:PATH")
    seed: int = Field(default=0, ge=0, description="every random draw follows from it")
    device: str = Field(default="auto", description="auto | cpu | cuda | mps")
    precision: Precision = Field(default="32-true", description="of the student's training")
    store: Path | None = Field(
        default=None, description="folder of teacher stores that runs share; the run's own if not"
    )
    teacher_mode: Literal["store", "online"] = Field(
        default="store", description="store: the teacher sees each view once; online: at every step anew"
    )
    vectors: Vectors = Vectors()
    distill: Distill = Distill()
    evaluate: Evaluate = Evaluate()


class Teach(Settings):
    """A few labelled images -> a teacher with learned prompts (PromptSRC)."""

    images: str = Field(description="DIR with CLASS/* or DOMAIN/CLASS/* | pictograms (its train split)")
    out: Path = Field(description="run folder; then --teacher prompted:OUT is the new teacher")
    classes: Names = Field(default=(), description="learn on these alone: a,b,c or a .txt file; all if not given")
    teacher: str = Field(default="nano", description="nano | openclip:MODEL/TAG | dir:PATH | hf:ORG/REPO@REV")
    shots: int = Field(default=16, ge=1, description="labelled images of each class, or all if there are fewer")
    benchmark: str | None = Field(default=None, description="measure on it before and after: pictograms | dir:PATH")
    seed: int = Field(default=0, ge=0, description="every random draw follows from it")
    device: str = Field(default="auto", description="auto | cpu | cuda | mps")
    precision: Precision = Field(
        default="32-true", description="of what is computed; the prompts are always kept in full"
    )
    tune: Tune = Tune()


class FromImages(RunSettings):
    """Class names and unlabeled images of the domain -> student (PromptKD)."""

    images: str = Field(description="folder | *.tar | *.parquet | hf:ORG/NAME | pictograms (its unlabeled split)")
    limit: int | None = Field(default=None, ge=2, description="use so many images only, evenly spaced")
    distill: Distill = Distill(backbone_lr=0.3)


class FromNames(RunSettings):
    """Class names alone -> student (DFKD-VLFM)."""

    generator: str = Field(
        default="nano-vqgan",
        description="nano-vqgan | dir:PATH (diffusers VQModel) | taming:FILE.ckpt | pixels | diffusers:PATH-OR-REPO",
    )
    vectors: Vectors = Vectors(templates=("A {}",))
    diversify: Diversify = Diversify()
    synthesize: Synthesize = Synthesize()
    distill: Distill = Distill(epochs=30, views=10, kl=0.1)  # a teacher is too sure of what was painted to please it


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "teach": {
        "fast": {},
        "best": {"tune": {"views": 20}},
        "paper": {"tune": {"views": 20, "crop": 0.08}},
    },
    "from-images": {
        "paper": {"student": "prompted:nano-student", "distill": PROMPTKD},
        "fast": {},
        "best": {"distill": {"epochs": 60, "views": 20, "backbone_lr": 0.3}},
    },
    "from-names": {
        "paper": {
            "diversify": {"strategy": "contrastive", "images_per_class": 3000, "contrast": {"anchor": 0.0}},
            "synthesize": {
                "steps": 500,
                "cutouts": 32,
                "batch_size": 8,
                "start": "codes",
                "smooth": 0.0,
                "sure": 0.0,
                "gate": False,
            },
            "distill": DFKD,
        },
        "fast": {},
        "best": {
            "diversify": {"images_per_class": 64},
            "synthesize": {"steps": 200, "cutouts": 8},
            "distill": {"epochs": 60, "views": 20},
        },
    },
}


def preset(pipeline: str, name: str) -> dict[str, Any]:
    """The values of a preset; an unknown one is a :class:`UsageError`."""
    known = PRESETS[pipeline]
    if name not in known:
        raise UsageError(f"unknown preset {name!r}; choose from {', '.join(known)}")
    return known[name]
