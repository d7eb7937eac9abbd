"""What was said of every picture comes back the same, and a damaged record is told."""

from pathlib import Path

import numpy as np
import pytest

from promptstill.data.predictions import Answers, Predictions
from promptstill.errors import DataError


def some() -> Predictions:
    given = Answers(np.array([[1, 0], [0, 1], [1, 0]]), np.array([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0]], np.float32))
    domains, ids = np.array(["ink", "ink", "paint"]), np.array(["a.png", "b.png", "a.png"])
    return Predictions(("dog", 'a "cat"\n'), domains, ids, np.array([1, 0, 0]), {"teacher": given, "student": given})


def test_it_comes_back_the_same(tmp_path: Path) -> None:
    some().save(tmp_path)
    back = Predictions.load(tmp_path)
    assert back.names == some().names
    for name in ("domains", "ids", "labels"):
        assert getattr(back, name).tolist() == getattr(some(), name).tolist()
    assert list(back.answers) == ["teacher", "student"]
    assert back.answers["student"].best.tolist() == [1, 0, 1]
    assert back.answers["student"].confidence.tolist() == [0.75, 0.5, 1.0]


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing or damaged"):
        Predictions.load(tmp_path)
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="missing or damaged"):
        Predictions.load(tmp_path)
