"""A run that was killed or stopped at any moment ends, started again, with the very bytes of an undisturbed one."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from runs import Models, finish, from_names, products, start

# Enough work that every moment of a run can be hit: three shards, then epochs.
WORK = ["synthesize.steps=40", "diversify.images_per_class=6", "distill.epochs=12"]


def arguments(models: Models, out: Path) -> list[str]:
    return from_names(models, out, set=WORK)


@pytest.fixture(scope="module")
def undisturbed(models: Models, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """What an undisturbed run makes, and the seconds it takes."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    began = time.monotonic()
    assert finish(start(arguments(models, out), out.parent / "output")) == 0
    return products(out), time.monotonic() - began


@pytest.mark.timeout(300)
def test_three_kills_change_nothing(models: Models, undisturbed: tuple[dict[str, str], float], tmp_path: Path) -> None:
    wanted, seconds = undisturbed
    moments, out = random.Random(17), tmp_path / "run"
    for _ in range(3):
        process = start(arguments(models, out), tmp_path / "output")
        process.join(seconds * moments.uniform(0.2, 0.9))
        process.kill()
        assert finish(process) in (-signal.SIGKILL, 0)
    assert finish(start(arguments(models, out), tmp_path / "output")) == 0
    assert products(out) == wanted
    assert "Traceback" not in (tmp_path / "output").read_text()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "when"),
    [(signal.SIGTERM, "3-images/shard-00000.parquet"), (signal.SIGINT, "4-student/checkpoint.ckpt")],
)
def test_a_signal_stops_at_a_safe_point_with_exit_code_75(
    models: Models, undisturbed: tuple[dict[str, str], float], tmp_path: Path, number: int, when: str
) -> None:
    out, output = tmp_path / "run", tmp_path / "output"
    process = start(arguments(models, out), output)
    while not (out / when).exists() and process.is_alive():
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, number)
    assert finish(process) == 75, output.read_text()
    name = signal.Signals(number).name
    assert f"promptstill: stopped by {name}; the same command continues this run" in output.read_text()
    assert not (out / "5-report").exists()
    assert finish(start(arguments(models, out), output)) == 0
    assert products(out) == undisturbed[0]
    assert "Traceback" not in output.read_text()
