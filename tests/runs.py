"""The command line on tiny models: arguments of both stories, and what a run leaves."""

import hashlib
import json
import multiprocessing
import os
import resource
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

LISTING = {"1-vectors", "2-prompts", "3-images", "4-student", "5-report", "config.yaml", "run.log", "metrics.jsonl"}
SMALL = ("distill.epochs=2", "distill.views=2", "distill.batch_size=4")
PAINT = (
    "synthesize.steps=3",
    "synthesize.batch_size=4",
    "synthesize.shard_size=4",
    "synthesize.image_size=16",
    "synthesize.gate=false",  # a random teacher recognises nothing
    "diversify.images_per_class=3",
    "diversify.picture=false",
)


class Models(NamedTuple):
    """Where the tiny models and data are."""

    clip: Path
    vqgan: Path
    pictures: Path
    bench: Path


def options(**values: Any) -> list[str]:
    """``key=value`` -> ``--key value``; ``set`` is a sequence."""
    sets = [part for text in values.pop("set", ()) for part in ("--set", text)]
    return [part for key, value in values.items() for part in (f"--{key.replace('_', '-')}", str(value))] + sets


def common(models: Models, out: Path, **more: Any) -> dict[str, Any]:
    """What both stories are given."""
    chosen = {"classes": "dog,cat", "out": out, "teacher": f"dir:{models.clip}", "student": "timm:test_byobnet"}
    return chosen | {"benchmark": f"dir:{models.bench}", "device": "cpu"} | more


def from_names(models: Models, out: Path, **more: Any) -> list[str]:
    """Arguments of a small from-names run."""
    sets = (*SMALL, *PAINT, *more.pop("set", ()))
    given = common(models, out, set=sets) | {"generator": f"dir:{models.vqgan}"} | more
    return ["from-names", *options(**given)]


def from_images(models: Models, out: Path, **more: Any) -> list[str]:
    """Arguments of a small from-images run."""
    sets = (*SMALL, *more.pop("set", ()))
    return ["from-images", *options(**common(models, out, images=models.pictures, set=sets) | more)]


def products(out: Path) -> dict[str, str]:
    """What must not depend on how often a run was stopped: hashes of prompts, images and student."""
    wanted = ("1-vectors/*.safetensors", "2-prompts/prompts.*", "3-images/*.parquet", "4-student/model.safetensors")
    paths = sorted(path for pattern in wanted for path in out.glob(pattern))
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def call(arguments: list[str], output: Path, limit: int | None) -> None:
    """The command line in a process of its own; ``limit`` is the most bytes a file may have."""
    import torch

    from promptstill.cli import main

    torch.set_num_threads(1)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ["NO_COLOR"] = "1"
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(arguments: list[str], output: Path, limit: int | None = None) -> BaseProcess:
    """Start the command line in a real process that can be killed; its libraries are loaded once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["promptstill.pipelines.from_names", "diffusers.models.autoencoders.vq_model"])
    process = context.Process(target=call, args=(arguments, output, limit))
    process.start()
    return process


def finish(process: BaseProcess, timeout: float = 200) -> int:
    """Wait for a process; its exit code, or minus the signal that ended it."""
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"the process did not end in {timeout} seconds")
    return process.exitcode
