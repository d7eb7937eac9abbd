"""Labelled images: classes by name, shots drawn as published, halves by the published rule."""

import random
import shutil
from pathlib import Path

import pytest

from promptstill.data.labelled import Labelled, open_labelled
from promptstill.errors import DataError, UsageError
from tiny import make_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "zoo"
    for number, name in enumerate(("cat", "dog", "emu", "fox", "gnu")):
        make_pictures(root / name, 2 + number, seed=number)
    return root


def shown(data: Labelled) -> list[str]:
    return [data.classes[label] for label in data.labels]


def test_a_plain_folder_has_its_classes(folder: Path) -> None:
    data = open_labelled(f"dir:{folder}", "train")
    assert data.classes == ("cat", "dog", "emu", "fox", "gnu")
    assert [Path(name).parts[0] for name in data.images.ids] == shown(data)
    assert not data.domains


def test_split_folders_are_kept_apart(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "train")
    make_pictures(tmp_path / "Validation" / "ink" / "cat", 2)
    assert len(open_labelled(f"dir:{tmp_path}", "train")) == 2 + 3 + 4 + 5 + 6
    assert set(open_labelled(f"dir:{tmp_path}", "val").domains) == {"ink"}
    with pytest.raises(DataError, match="has the splits train, val, not test"):
        open_labelled(f"dir:{tmp_path}", "test")


def test_an_odd_class_more_is_base(folder: Path) -> None:
    data = open_labelled(f"dir:{folder}", "train")
    assert (data.base, data.novel) == (("cat", "dog", "emu"), ("fox", "gnu"))
    novel = data.restrict(data.novel)
    assert novel.classes == ("fox", "gnu")
    assert sorted(set(novel.labels)) == [0, 1]
    assert set(shown(novel)) == {"fox", "gnu"}


def test_shots_are_drawn_as_published(folder: Path) -> None:
    data = open_labelled(f"dir:{folder}", "train")
    drawn = data.shots(3, seed=1)
    state = random.Random(1)  # one draw a class in order of first appearance; a small class is taken whole
    wanted = []
    for name in data.classes:
        group = [image for image in data.images.ids if image.startswith(f"{name}/")]
        wanted += state.sample(group, 3) if len(group) >= 3 else group
    assert list(drawn.images.ids) == wanted
    assert drawn.images.ids == data.shots(3, seed=1).images.ids != data.shots(3, seed=2).images.ids
    assert [Path(name).parts[0] for name in drawn.images.ids] == shown(drawn)


def test_shots_of_the_base_are_the_base_of_the_shots(folder: Path) -> None:
    data = open_labelled(f"dir:{folder}", "train")
    base = data.shots(2, seed=3).restrict(data.base)
    assert set(base.images.ids) == {name for name in data.shots(2, 3).images.ids if name[:3] in data.base}
    with pytest.raises(UsageError, match="0 shots are too few"):
        data.shots(0, 1)


def test_pictograms_have_labels_domains_and_declared_halves() -> None:
    train, test = (open_labelled("pictograms", split) for split in ("train", "test"))
    assert train.classes == test.classes
    assert set(train.domains) == set(test.domains)
    assert len(set(train.labels)) == len(train.classes)
    assert set(train.base) | set(train.novel) == set(train.classes)
    assert not set(train.base) & set(train.novel)
    with pytest.raises(DataError, match="no split 'val'"):
        open_labelled("pictograms", "val")


def test_what_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown benchmark 'zoo'"):
        open_labelled("zoo", "train")
    with pytest.raises(UsageError, match="unknown split 'all'"):
        open_labelled("pictograms", "all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="none of the classes yak"):
        open_labelled(f"dir:{folder}", "train").restrict(["yak"])
