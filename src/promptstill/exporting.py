"""Settings of ``promptstill export`` and ``serve``."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from promptstill.config import Settings

Format = Literal["onnx", "onnx-int8", "torch-export", "web"]


class Export(Settings):
    """Write a student in another format, run it back against its bundle, and refuse it when they disagree."""

    format: Format = Field(description="onnx | onnx-int8 | torch-export | web (a page that runs in the browser)")
    out: Path = Field(description="a new or empty folder")
    probabilities: bool = Field(default=False, description="fold the softmax in; web pages always have it")
    normalize: bool = Field(
        default=True, description="fold the normalisation in: images come in [0, 1]; resizing stays outside"
    )
    benchmark: str | None = Field(
        default=None, description="compare and measure on it: pictograms | dir:PATH; the run's own by default"
    )
    calibrate: str | None = Field(
        default=None, description="images that set the ranges of INT8; the run's own by default"
    )
    calibration_images: int = Field(default=256, ge=1, description="how many of them, evenly spread")
    activations: Literal[8, 16] | None = Field(
        default=None,
        description="bits of INT8's activations; 16: more like fp32, as small, slower; by default 8, and 16 where the "
        "gate refuses 8",
    )
    compared_images: int = Field(
        default=1000,
        ge=1,
        description="most images compared where there is no benchmark; a benchmark is compared whole",
    )
    batch_size: int = Field(default=64, ge=1, description="images a forward pass")
    runtime: str = Field(
        default="cdn", description="the page's onnxruntime-web: cdn | local (fetched by npm) | a folder that has it"
    )
    samples: str | None = Field(
        default=None, description="pictures to try on the page; the benchmark's, or the run's surrogate images"
    )
    vectors: tuple[Path, ...] = Field(
        default=(), description="more sets of classes for the page: folders with class vectors of the same teacher"
    )
