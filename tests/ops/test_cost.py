"""What a module costs is counted, attention included, and measuring leaves it as it was."""

import torch
from torch import nn

from promptstill.ops.cost import cost


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)[..., :1].expand(-1, -1, 8)
        return self.inner(tokens, tokens, tokens, need_weights=False)[0]


def test_a_convolution_costs_what_arithmetic_says() -> None:
    figures = cost(nn.Conv2d(3, 5, 3, padding=1, bias=False), 8, runs=2)
    assert figures["parameters"] == 3 * 5 * 9
    assert figures["macs"] == 3 * 5 * 9 * 64
    assert figures["latency_ms"] > 0


def test_attention_is_counted_and_the_fast_path_is_switched_back() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    figures = cost(Attention().eval(), 4, runs=1)
    projections, products = 4 * 16 * 8 * 8, 2 * 16 * 16 * 8
    assert figures["macs"] == projections + products
    assert torch.backends.mha.get_fastpath_enabled() == before
