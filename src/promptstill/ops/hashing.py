"""One hash for a model's weights."""

import hashlib

import torch
from torch import nn


def state_hash(model: nn.Module) -> str:
    """sha256 over the names and values of all tensors of a model."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
