"""Files are written whole or not at all, a run folder belongs to one run, and what was altered is refused."""

import errno
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from promptstill.artifacts import (
    ClassVectors,
    Prompts,
    Report,
    Run,
    disk_full_is_an_error,
    free_bytes,
    read_json,
    write_atomic,
    write_json,
)
from promptstill.config import Settings, resolve
from promptstill.errors import DataError, Interrupted, SpaceError, UsageError
from promptstill.settings import FromNames


def settings(out: Path, **more: object) -> FromNames:
    return resolve(FromNames, {"classes": "dog,cat", "out": out, **more})


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_write_that_fails_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def half(part: Path) -> None:
        part.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert files(tmp_path) == {"a.txt"}
    write_atomic(path, b"new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_sentence(tmp_path: Path, number: int) -> None:
    with pytest.raises(SpaceError, match="no space left for") as caught, disk_full_is_an_error(tmp_path):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == 5
    with pytest.raises(PermissionError), disk_full_is_an_error(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_damaged_json_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, "é"]})
    assert read_json(tmp_path / "a.json") == {"b": [1, "é"]}
    (tmp_path / "a.json").write_text('{"b"')
    with pytest.raises(DataError, match=r"a\.json is missing or damaged"):
        read_json(tmp_path / "a.json")


def test_a_stage_is_made_once_and_its_marker_comes_last(tmp_path: Path) -> None:
    made: list[int] = []

    def make(folder: Path) -> dict[str, int]:
        assert not (folder / "done.json").exists()
        made.append(1)
        (folder / "x").write_text("content")
        return {"images": 3}

    for _ in range(2):
        with Run.open(tmp_path / "run", settings(tmp_path)) as run:
            assert run.once("1-vectors", make, lambda folder: (folder / "x").read_text()) == "content"
            assert run.notes()["1-vectors"]["images"] == 3
    assert made == [1]
    assert files(tmp_path / "run") == {"config.yaml", "run.log", "1-vectors/x", "1-vectors/done.json"}


def test_a_stage_that_failed_is_made_again_and_its_time_adds_up(tmp_path: Path) -> None:
    def stop(folder: Path) -> None:
        (folder / "half").write_text("")
        raise Interrupted("stopped")

    with pytest.raises(Interrupted), Run.open(tmp_path / "run", settings(tmp_path)) as run:
        run.once("1-vectors", stop, lambda folder: None)
    write_json(tmp_path / "run" / "1-vectors" / "spent.json", {"seconds": 100.0})
    with Run.open(tmp_path / "run", settings(tmp_path)) as run:
        run.once("1-vectors", lambda folder: None, lambda folder: None)
        assert run.notes()["1-vectors"]["seconds"] >= 100
    assert "1-vectors/spent.json" not in files(tmp_path / "run")


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", settings(tmp_path)) as run:
        run.metric("x", value=1)
    with Run.open(tmp_path / "run", settings(tmp_path / "elsewhere", device="cpu")):
        pass  # where it is written, and on what device, does not make it another run
    other = settings(tmp_path, seed=4, distill={"epochs": 2})
    with pytest.raises(UsageError, match=r"distill.epochs: 30 there, 2 here, seed: 0 there, 4 here"):
        Run.open(tmp_path / "run", other).__enter__()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["value"] == 1


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="not empty and holds no run"):
        Run.open(tmp_path, settings(tmp_path)).__enter__()
    assert files(tmp_path) == {"thesis.tex"}


@pytest.mark.parametrize("content", ["", "- a", "text"])
def test_a_config_that_is_no_runs_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UsageError, match="no run's"):
        Run.open(tmp_path, settings(tmp_path)).__enter__()
    assert (tmp_path / "config.yaml").read_text() == content


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_failed_before_it_made_anything_leaves_its_folder_free(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "run"
    if there:
        folder.mkdir()

    def refuse(_: Path) -> None:
        raise DataError("a class name is too long")

    with pytest.raises(DataError), Run.open(folder, settings(tmp_path)) as run:
        run.once("1-vectors", refuse, lambda folder: None)
    assert folder.is_dir() == there
    with Run.open(folder, settings(tmp_path, classes="shorter,names")):
        pass


def test_an_interrupted_run_keeps_its_folder(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), Run.open(tmp_path / "run", settings(tmp_path)):
        raise Interrupted("stopped")
    assert files(tmp_path / "run") == {"config.yaml", "run.log"}


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        Run.open(tmp_path / "file", settings(tmp_path)).__enter__()
    with pytest.raises(UsageError, match="cannot write to"):
        Run.open(tmp_path / "file" / "run", settings(tmp_path)).__enter__()


def test_a_folder_without_permission_is_a_usage_error() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        (folder / "run").mkdir()
        folder.chmod(0o555)
        (folder / "run").chmod(0o555)
        try:
            if user == 0:
                os.seteuid(65534)  # root may write anywhere
            for out in (folder / "run", folder / "new"):
                with pytest.raises(UsageError, match=r"Permission denied.*choose another --out"):
                    Run.open(out, settings(out)).__enter__()
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
            (folder / "run").chmod(0o755)


def test_the_config_of_a_run_is_its_settings(tmp_path: Path) -> None:
    chosen: Settings = settings(tmp_path, seed=3)
    with Run.open(tmp_path / "run", chosen):
        pass
    content = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert content == chosen.model_dump(mode="json", exclude={"out", "device", "store"})


def class_vectors() -> ClassVectors:
    rows = np.eye(3, 4, dtype=np.float32)
    return ClassVectors(("dog", "cat", "犬"), rows, 14.3, ("A {}",), "nano", "abc")


def test_class_vectors_come_back_the_same(tmp_path: Path) -> None:
    class_vectors().save(tmp_path)
    again = ClassVectors.load(tmp_path)
    assert np.array_equal(again.vectors, class_vectors().vectors)
    assert (again.names, again.scale, again.templates, again.teacher) == (("dog", "cat", "犬"), 14.3, ("A {}",), "nano")
    some = again.select(("犬", "dog"))
    assert some.names == ("犬", "dog")
    assert np.array_equal(some.vectors, class_vectors().vectors[[2, 0]])


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_altered_class_vectors_are_refused(tmp_path: Path, damage: str) -> None:
    class_vectors().save(tmp_path)
    path = tmp_path / "vectors.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data) if damage == "flip" else bytes(data[:-3]))
    if damage == "remove":
        path.unlink()
    with pytest.raises(DataError, match="missing or was altered"):
        ClassVectors.load(tmp_path)


def test_prompts_and_reports_come_back_the_same(tmp_path: Path) -> None:
    prompts = Prompts(np.array([1, 0]), ("A cat", 'A "dog"\n'), np.eye(2, dtype=np.float32), ({}, {"styles": ["oil"]}))
    prompts.save(tmp_path)
    again = Prompts.load(tmp_path)
    assert again.texts == prompts.texts
    assert np.array_equal(again.labels, prompts.labels)
    assert np.array_equal(again.embeddings, prompts.embeddings)
    Report({"a": 1}).save(tmp_path)
    assert Report.load(tmp_path).content == {"a": 1}


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_two_processes_cannot_work_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Run.open(folder, settings(tmp_path)):
        with pytest.raises(UsageError, match="another process works in"), Run.open(folder, settings(tmp_path)):
            pass
        assert (folder / "config.yaml").is_file()
    with Run.open(folder, settings(tmp_path)):
        pass
    assert not (folder / ".lock").exists()


def test_a_damaged_config_is_no_runs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("x: [1\n")
    with pytest.raises(UsageError, match="is no run's"), Run.open(tmp_path / "run", settings(tmp_path)):
        pass
