"""Sheets to begin with: from their own stream, plain without shapes, and different from each other."""

import torch

from promptstill.engine import stream
from promptstill.ops.starts import sheet


def test_the_same_stream_draws_the_same_sheet() -> None:
    first, again, other = (sheet(16, 4, stream(0, "s", i)) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 16, 16)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_paper_is_plain_and_mostly_white() -> None:
    sheets = torch.stack([sheet(8, 0, stream(0, "p", i)) for i in range(200)])
    assert float(sheets.std((2, 3)).max()) == 0
    white = (sheets == 1).flatten(1).all(1).float().mean()
    assert 0.5 < float(white) < 0.7


def test_shapes_have_a_few_colours() -> None:
    colours = [len(sheet(32, 4, stream(0, "c", i)).flatten(1).unique(dim=1)[0]) for i in range(20)]
    assert max(colours) <= 5
    assert sum(count > 1 for count in colours) >= 18
