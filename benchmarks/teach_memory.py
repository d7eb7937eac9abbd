"""What learning text prompts needs: peak memory and time of one step's class side, in chunks and at once.

    python benchmarks/teach_memory.py [--model ViT-L-14] [--classes 50 200] [--chunks 64 0] [--json FILE]

The text tower of a published architecture with random weights, the class texts of PromptSRC, 4 tokens in 9 blocks. Each
case runs in a process of its own; its figure is the growth of the process's largest resident size over the model.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F

from promptstill.data.templates import context_template
from promptstill.engine import stream
from promptstill.models.prompts import fresh_tokens
from promptstill.models.towers import encode_texts, text_tower_size
from promptstill.ops.templates import fill_all

DEPTH, LENGTH = 9, 4


def peak() -> float:
    """The process's largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def step(model_name: str, classes: int, chunk: int) -> dict[str, Any]:
    """One forward and backward pass through the class side; ``chunk`` 0 is all classes at once."""
    torch.set_num_threads(1)
    config: Any = open_clip.get_model_config(model_name)
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 32}  # not needed here
    model = open_clip.CLIP(config["embed_dim"], vision, config["text_cfg"]).eval().requires_grad_(False)  # pyright: ignore
    depth, width = text_tower_size(model)
    tokens = fresh_tokens(min(DEPTH, depth), LENGTH, width, stream(0, "tokens")).requires_grad_()
    ids = open_clip.SimpleTokenizer()(fill_all([context_template(LENGTH)], [f"class {i}" for i in range(classes)]))
    encode_texts(model, ids[:1])  # libraries take their own memory
    before, start = peak(), time.perf_counter()
    F.normalize(encode_texts(model, ids, tokens, chunk=chunk or None), dim=-1).square().sum(0).std().backward()
    seconds = time.perf_counter() - start
    grown = round(peak() - before)
    return {"model": model_name, "classes": classes, "chunk": chunk, "peak_mb": grown, "seconds": round(seconds, 1)}


def main() -> None:
    """Parse, run each case apart, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-L-14")
    parser.add_argument("--classes", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for classes in given.classes:
        for chunk in given.chunks:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(step, (given.model, classes, chunk)))
            print(rows[-1], flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
