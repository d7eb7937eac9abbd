"""The mean of two checkpoints of one course: what a tower knew before and after it learned from other pictures.

    python recipes/nano/soup.py WORK/towers/BEFORE.pt WORK/towers/AFTER.pt WORK/towers/teacher.pt

Their moving averages are averaged, tensor by tensor; all else is the second's. Weights that share a trajectory lie in
one valley, and their mean is often better than either (Wortsman et al. 2022, model soups).
"""

import sys
from pathlib import Path
from typing import Any

import torch


def mean(before: Path, after: Path) -> dict[str, Any]:
    """The state of ``after`` with the mean of both moving averages."""
    state = torch.load(after, weights_only=True)
    first, second = (torch.load(path, weights_only=True)["learner"]["average"] for path in (before, after))
    mixed = {k: second[k].lerp(first[k], 0.5) if second[k].is_floating_point() else second[k] for k in second}
    state["learner"]["average"] = mixed
    return state


if __name__ == "__main__":
    old, new, out = map(Path, sys.argv[1:])
    torch.save(mean(old, new), out.with_suffix(".part"))
    out.with_suffix(".part").rename(out)
