"""What a module costs to run."""

import statistics
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(module: nn.Module, size: int, runs: int = 20) -> dict[str, float]:
    """Parameters, multiply-accumulates of one image (3, size, size), and the median latency of one image in ms."""
    module.eval()
    image = torch.rand(1, 3, size, size, device=next(module.parameters()).device)
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        torch.backends.mha.set_fastpath_enabled(False)  # the fused attention is invisible to the counter
        with FlopCounterMode(display=False) as counter:
            module(image)
        torch.backends.mha.set_fastpath_enabled(fast)
        spent = [_timed(module, image) for _ in range(runs + 5)][5:]
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "macs": counter.get_total_flops() // 2,
        "latency_ms": round(1000 * statistics.median(spent), 3),
    }


def _timed(module: nn.Module, image: torch.Tensor) -> float:
    start = time.perf_counter()
    module(image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
