"""A finished run as its folder tells it, without any model: what the report page is made from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptstill.artifacts import Report, read_json
from promptstill.data.predictions import Predictions
from promptstill.errors import DataError

PICTURES = "pictures.json"


@dataclass(frozen=True)
class Finished:
    """Report, answers to every test picture (if there was a benchmark), pictures, and training curves."""

    name: str
    report: dict[str, Any]
    predictions: Predictions | None
    pictures: dict[str, Any]
    metrics: list[dict[str, Any]]


def read_run(folder: Path) -> Finished:
    """Read ``RUN``.

    Raises:
        DataError: the folder holds no finished run, or a file of it is damaged.
    """
    place = folder / "5-report"
    if not (place / "report.json").is_file():
        raise DataError(f"{folder} is no finished run: it has no 5-report/report.json; give the --out of a run")
    predictions = Predictions.load(place) if (place / "predictions.parquet").is_file() else None
    pictures = read_json(place / PICTURES) if (place / PICTURES).is_file() else {}
    name = folder.resolve().name
    return Finished(name, Report.load(place).content, predictions, pictures, read_metrics(folder / "metrics.jsonl"))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; of an epoch that was done twice, after an interruption, the later one."""
    if not path.is_file():
        return []
    rows: dict[tuple[Any, Any], dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a line that was cut by a kill
        rows[row.get("stage"), row.get("epoch")] = row
    return list(rows.values())
