"""What teacher and student said of every test picture: ``5-report/predictions.parquet``, one row a picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from promptstill.artifacts import write_atomic
from promptstill.errors import DataError

TOP = 5  # classes kept for each picture


@dataclass(frozen=True)
class Answers:
    """The best classes of N pictures (N, T), best first, and the probability of each (N, T)."""

    classes: np.ndarray
    probabilities: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The first class of every picture (N,)."""
        return self.classes[:, 0]

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the first class (N,)."""
        return self.probabilities[:, 0]

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Those of several sets of pictures, one after the other."""
        return cls(np.concatenate([p.classes for p in parts]), np.concatenate([p.probabilities for p in parts]))


@dataclass(frozen=True)
class Predictions:
    """The test pictures in order: domain (N,) by name, id (N,) within it, class (N,); and each model's answers."""

    names: tuple[str, ...]
    domains: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    answers: dict[str, Answers]

    def __len__(self) -> int:
        return len(self.labels)

    def save(self, folder: Path) -> None:
        """Write ``predictions.parquet``; classes stand there by number, the names in the file's metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {"domain": self.domains, "image": self.ids, "class": self.labels}
        for who, given in self.answers.items():
            columns[f"{who}_classes"] = list(given.classes)
            columns[f"{who}_probabilities"] = list(given.probabilities.astype(np.float32))
        table = pa.table(columns).replace_schema_metadata({"names": json.dumps(self.names)})
        write_atomic(folder / "predictions.parquet", lambda part: pq.write_table(table, part))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a file written by :meth:`save`.

        Raises:
            DataError: the file is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / "predictions.parquet"
        try:
            table = pq.read_table(path)
            rows, names = table.to_pydict(), json.loads(table.schema.metadata[b"names"])
            who = [name.removesuffix("_classes") for name in rows if name.endswith("_classes")]
            answers = {
                name: Answers(np.array(rows[f"{name}_classes"]), np.array(rows[f"{name}_probabilities"], np.float32))
                for name in who
            }
            domains, ids, labels = (np.array(rows[name]) for name in ("domain", "image", "class"))
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            raise DataError(f"{path} is missing or damaged; delete its folder and start the run again") from None
        return cls(tuple(names), domains, ids, labels, answers)
