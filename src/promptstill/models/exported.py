"""A student in the formats of others: what is written, and how it is run again.

An exported folder holds the model (``model.onnx`` or ``model.pt2``) and ``about.json``, which says all that a program
needs to use it: the labels, what goes in, what comes out, and the files' hashes. ``web`` also has the page.
"""

import copy
import json
import logging
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from promptstill.artifacts import ClassVectors, read_json, sha256, write_json
from promptstill.errors import DataError, MissingError
from promptstill.models.bundle import Bundle
from promptstill.ops.preprocess import Preprocess

ABOUT = "about.json"
OPSET = 20  # the newest that every onnxruntime since 1.17 runs, in browsers too
INSTALL = "install it: pip install promptstill[export]"
QUANTISED = ("Conv", "MatMul", "Gemm")  # where nearly all weights and work are; the rest stays in fp32
LAST = 4  # a tower's projection, the two of the projector, the class vectors

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Folded:
    """What is folded into the graph beside the student."""

    normalize: bool = True  # images come in [0, 1]; otherwise already normalised
    output: str = "logits"  # logits | probabilities | embeddings (to be multiplied with class vectors outside)


class Graph(nn.Module):
    """Images (B, 3, S, S) -> what :class:`Folded` says, (B, K) or (B, D)."""

    def __init__(self, bundle: Bundle, folded: Folded) -> None:
        super().__init__()
        self.scores, self.output = bundle.module(), folded.output
        if not folded.normalize:
            student = self.scores.student = copy.copy(bundle.student)
            plain = replace(student.architecture.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
            student.architecture = replace(student.architecture, preprocess=plain)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        if self.output == "embeddings":
            return self.scores.student(images)
        logits = self.scores(images)
        return logits.softmax(-1) if self.output == "probabilities" else logits


@dataclass(frozen=True)
class Exported:
    """An exported folder, ready to be run: all it knows comes from its own files."""

    folder: Path
    about: dict[str, Any]
    run: Run

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read a folder and check its hashes.

        Raises:
            DataError: the folder is no export, or a file of it is missing or was altered.
        """
        if not (folder / ABOUT).is_file():
            raise DataError(f"{folder} is no export: it has no {ABOUT}; make one with promptstill export")
        about = read_json(folder / ABOUT)
        for name, digest in about["sha256"].items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                raise DataError(f"{folder / name} is missing or was altered; export the student again")
        return cls(
            folder, about, (open_torch if about["model"].endswith(".pt2") else open_onnx)(folder / about["model"])
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the output's columns."""
        return tuple(self.about["labels"])

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Images (B, 3, S, S) in [0, 1] -> log-probabilities or logits (B, K), as the folder's own files make them."""
        if not self.about["input"]["normalize"]:
            pre = Preprocess.load(self.about["preprocess"])
            mean, std = (np.array(row, np.float32).reshape(-1, 1, 1) for row in (pre.mean, pre.std))
            images = (images - mean) / std
        found = self.run(images.astype(np.float32))
        if self.about["output"] == "probabilities":
            return np.log(np.maximum(found, np.finfo(np.float32).tiny))
        if self.about["output"] == "embeddings":
            vectors = np.fromfile(self.folder / "vectors.bin", "<f4").reshape(-1, found.shape[1])
            return self.about["scale"] * found @ vectors[: len(self.labels)].T
        return found


def describe(bundle: Bundle, folder: Path, model: str, folded: Folded, **more: Any) -> None:
    """Write ``about.json``, the last of the files that it vouches for."""
    pre = bundle.student.architecture.preprocess
    span = "[0, 1]" if folded.normalize else "normalised with preprocess.mean and .std"
    shape = {"name": "images", "shape": ["batch", 3, pre.size, pre.size], "values": f"RGB, float32, {span}"}
    content = {
        "made_by": "promptstill",
        "model": model,
        "labels": list(bundle.vectors.names),
        "input": shape | {"normalize": folded.normalize},
        "output": folded.output,
        "scale": float(bundle.module().scale),
        "preprocess": pre.dump(),
        "student": bundle.config["sha256"]["model.safetensors"],
        "teacher_hash": bundle.vectors.teacher_hash,
        **more,
    }
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content["sha256"] = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    write_json(folder / ABOUT, content)


# --------------------------------------------------------------------------------------------------------- torch.export


def trace(graph: Graph, size: int) -> torch.export.ExportedProgram:
    """The graph as one program with a free batch size.

    Raises:
        DataError: torch cannot follow the backbone's code.
    """
    example = torch.zeros(2, 3, size, size)
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(graph, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    except Exception as error:  # torch raises many kinds, among them its own internal ones
        name = graph.scores.student.architecture.uri
        raise DataError(f"{name} cannot be traced ({_first_line(error)}); distil another --student") from None


def save_torch(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write ``model.pt2``; ``torch.export.load(path).module()`` runs it."""
    with _quiet():
        torch.export.save(program, path)


def open_torch(path: Path) -> Run:
    """Read ``model.pt2`` and run it."""
    with _quiet():
        module = torch.export.load(path).module()

    @torch.no_grad()
    def run(images: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(images)).numpy()

    return run


# ----------------------------------------------------------------------------------------------------------------- ONNX


def save_onnx(program: torch.export.ExportedProgram, output: str, metadata: dict[str, str], path: Path) -> None:
    """Write one ``.onnx`` file with the weights inside, checked by onnx; ``metadata`` becomes its properties."""
    onnx = _package("onnx")
    _package("onnxscript")
    names: dict[str, Any] = {"input_names": ["images"], "output_names": [output]}
    with _quiet():
        made = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET, **names)
        assert made is not None
        model = made.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _strip(model: Any) -> None:
    """Remove the Python stack of every node, which is a tenth of a small file and of no use outside."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def open_onnx(path: Path, threads: int | None = None) -> Run:
    """Read an ``.onnx`` file and run it on the CPU.

    Raises:
        DataError: onnxruntime cannot load it.
    """
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base
        raise DataError(f"onnxruntime cannot load {path} ({_first_line(error)}); export the student again") from None
    entry = session.get_inputs()[0].name
    return lambda images: session.run(None, {entry: images})[0]


def quantise(source: Path, batches: Iterable[np.ndarray], target: Path, bits: int = 8) -> None:
    """fp32 ``.onnx`` -> static INT8 (QDQ, one scale an output channel of each weight), activations in ``bits``.

    Activations get the range that they have on ``batches`` of images. In fp32 stay the products of two activations,
    and the last layers: they are small, and what they round cannot be made good again.
    """
    quantization = _package("onnxruntime.quantization")
    kinds = quantization.QuantType

    class Reader(quantization.CalibrationDataReader):
        rows: Iterator[np.ndarray] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            images = next(self.rows, None)
            return None if images is None else {"images": images}

    with _quiet():
        quantization.quantize_static(
            source,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=kinds.QUInt16 if bits == 16 else kinds.QUInt8,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=_weighted(source)[-LAST:],
            extra_options={"MatMulConstBOnly": True},
        )


def _weighted(path: Path) -> list[str]:
    """The names of the nodes that multiply with weights, in order."""
    graph = _package("onnx").load(path).graph
    weights = {each.name for each in graph.initializer}
    return [node.name for node in graph.node if node.op_type in QUANTISED and weights & set(node.input[1:2])]


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingError(f"exporting needs the package {name.partition('.')[0]}; {INSTALL}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")[:200]


@contextmanager
def _quiet() -> Generator[None]:
    """What the exporters log and warn of is for their makers; whether the result is right is measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def vectors_file(bundle: Bundle, more: Iterable[ClassVectors], folder: Path) -> list[dict[str, Any]]:
    """Write the student's class vectors, then others, to ``vectors.bin`` (little-endian float32).

    Says the labels of each set and its first row.
    """
    rows = [bundle.module().vectors.numpy().astype("<f4")]
    places: list[dict[str, Any]] = [{"labels": list(bundle.vectors.names), "first": 0}]
    for vectors in more:
        places.append({"labels": list(vectors.names), "first": sum(map(len, rows))})
        rows.append(vectors.vectors.astype("<f4"))
    (folder / "vectors.bin").write_bytes(np.concatenate(rows).tobytes())
    return places


def metadata(bundle: Bundle) -> dict[str, str]:
    """What an ``.onnx`` file says about itself, so that it can stand alone."""
    pre = json.dumps(bundle.student.architecture.preprocess.dump())
    return {"labels": json.dumps(list(bundle.vectors.names), ensure_ascii=False), "preprocess": pre}
