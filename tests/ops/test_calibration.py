"""Calibration figures are those of the reference and of cases one can work out by hand."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_calibration_error

from promptstill.ops.calibration import calibration_error, reliability

PAIRS = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60)


@given(PAIRS)
def test_it_is_the_reference_error(pairs: list[tuple[float, bool]]) -> None:
    confidence, right = np.array([p for p, _ in pairs], np.float32), np.array([r for _, r in pairs])
    on_edge = np.isclose(confidence * 10, np.round(confidence * 10), atol=1e-4)  # the libraries round these apart
    confidence = np.where(on_edge & (confidence < 0.999), confidence + np.float32(0.01), confidence)
    bins = reliability(confidence, right)
    wanted = binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(right).long(), n_bins=10)
    assert calibration_error(bins) == pytest.approx(float(wanted), abs=1e-5)
    assert sum(each.count for each in bins) == len(pairs)


def test_who_is_always_sure_and_half_right_is_wrong_by_a_half() -> None:
    bins = reliability(np.ones(8), np.arange(8) % 2 == 0)
    assert [astuple(each) for each in bins] == [(8, 1.0, 0.5)]
    assert calibration_error(bins) == 0.5
