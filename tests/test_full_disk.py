"""A full disk is one sentence and exit code 5; what is half written is never believed; with space the run goes on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptstill.cli import main
from runs import Models, finish, from_images, from_names, products, start


@pytest.fixture(scope="module")
def wanted(models: Models, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("space") / "run"
    assert main(from_names(models, out)) == 0
    return products(out)


def told(output: Path) -> None:
    """One sentence, and nothing else."""
    text = output.read_text()
    assert text.startswith("promptstill: no space left for ")
    assert text.count("\n") == 1, text


@pytest.mark.parametrize("limit", [300, 1000, 4000, 100_000, 900_000])
def test_files_that_cannot_grow_end_the_run_and_space_continues_it(
    models: Models, wanted: dict[str, str], tmp_path: Path, limit: int
) -> None:
    out = tmp_path / "run"
    assert finish(start(from_names(models, out), tmp_path / "full", limit)) == 5
    told(tmp_path / "full")
    assert not (out / "5-report").exists()
    assert finish(start(from_names(models, out), tmp_path / "space")) == 0
    assert products(out) == wanted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A very small file system, which only root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not permitted here; the test above limits the size of files instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(300)
def test_a_disk_that_grows_step_by_step(models: Models, small_disk: Path, tmp_path: Path) -> None:
    """The teacher store is mapped memory: without space it must be refused before a page of it is touched."""
    many = {"set": ["distill.views=150", "distill.epochs=2"]}
    out, codes = small_disk / "run", []
    for number, size in enumerate(["16k", "64k", "300k", "64m"]):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
        output = tmp_path / f"output-{number}"
        codes.append(finish(start(from_images(models, out, **many), output)))
        if codes[-1]:
            told(output)
    assert codes[0] == 5
    assert codes[-1] == 0
    assert set(codes) == {0, 5}
    whole = tmp_path / "whole"
    assert finish(start(from_images(models, whole, **many), tmp_path / "output")) == 0
    assert products(out) == products(whole)
