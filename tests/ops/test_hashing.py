"""A model's hash follows its weights and nothing else."""

import torch
from torch import nn

from promptstill.ops.hashing import state_hash


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_the_same_weights_have_the_same_hash() -> None:
    assert state_hash(model()) == state_hash(model().eval().requires_grad_(False))


def test_one_changed_weight_buffer_or_name_changes_it() -> None:
    hashes = {state_hash(model()), state_hash(model(1)), state_hash(nn.ModuleDict({"a": model()}))}
    changed = model()
    with torch.no_grad():
        changed[0].bias[0] += 1e-6  # pyright: ignore
    counted = model()
    counted[1].num_batches_tracked += 1  # pyright: ignore
    assert len(hashes | {state_hash(changed), state_hash(counted)}) == 5
