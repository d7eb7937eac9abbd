"""Domains are whole and classes go by name, whether folders or lists say so, and whatever the lists' first number."""

from pathlib import Path

import pytest

from layouts import listed, pictures
from promptstill.data.benchmarks import load_benchmark
from promptstill.data.labelled import open_labelled, open_unlabeled
from promptstill.errors import DataError

PACS = {"photo": ("dog", "horse"), "art_painting": ("dog", "house"), "cartoon": ("horse",), "sketch": ("person",)}
FOUR = {"photo": 4, "art painting": 4, "cartoon": 2, "sketch": 2}


def tree(root: Path) -> list[str]:
    names = [f"{domain}/{name}/{n}.jpg" for domain, classes in PACS.items() for name in classes for n in (1, 2)]
    pictures(root, names)
    return names


def counted(uri: str) -> dict[str, dict[str, int]]:
    """Images by domain and class name."""
    benchmark = load_benchmark(uri)
    return {
        title: {name: domain.labels.count(i) for i, name in enumerate(benchmark.classes) if i in domain.labels}
        for title, domain in benchmark.domains.items()
    }


WANTED = {
    "photo": {"dog": 2, "horse": 2},
    "art painting": {"dog": 2, "house": 2},
    "cartoon": {"horse": 2},
    "sketch": {"person": 2},
}


@pytest.mark.parametrize("place", ["", "PACS", "kfold", "PACS/kfold"])
def test_pacs_from_folders(tmp_path: Path, place: str) -> None:
    tree(tmp_path / place)
    assert counted(f"pacs:{tmp_path}") == WANTED


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("style", ["dassl", "tllib", "prefixed"])
def test_pacs_from_lists_counts_the_same(tmp_path: Path, start: int, style: str) -> None:
    names = tree(tmp_path / "images")
    order = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    for domain in PACS:
        rows = [(name, start + order.index(name.split("/")[1])) for name in names if name.startswith(domain)]
        if style == "dassl":
            listed(tmp_path / "splits" / f"{domain}_train_kfold.txt", rows[::2])
            listed(tmp_path / "splits" / f"{domain}_crossval_kfold.txt", rows[::2])
            listed(tmp_path / "splits" / f"{domain}_test_kfold.txt", rows[1::2])
        else:
            prefix = "../old disk/PACS/" if style == "prefixed" else ""
            listed(tmp_path / "image_list" / f"{domain}_all.txt", [(prefix + name, n) for name, n in rows])
            listed(tmp_path / "image_list" / f"{domain}_train.txt", [(prefix + name, n) for name, n in rows[:1]])
    assert counted(f"pacs:{tmp_path}") == WANTED
    assert all(name.startswith("images/") for name in open_labelled(f"pacs:{tmp_path}", "test").images.ids)


def test_vlcs_with_numbered_folders_and_parts(tmp_path: Path) -> None:
    for domain in ("CALTECH", "PASCAL"):
        names = [f"{part}/{n}/{part}{n}.jpg" for part in ("train", "crossval", "test") for n in range(5)]
        pictures(tmp_path / "VLCS" / domain, names)
    each = dict.fromkeys(("bird", "car", "chair", "dog", "person"), 3)
    assert counted(f"vlcs:{tmp_path}") == {"VOC2007": each, "Caltech101": each}
    pictures(tmp_path / "VLCS" / "CALTECH", [f"full/{n}/all.jpg" for n in range(5)])
    assert set(counted(f"vlcs:{tmp_path}")["Caltech101"].values()) == {1}  # the parts are not counted again


@pytest.mark.parametrize("list_name", ["{}.txt", "{}_list.txt", "{}List.txt"])
@pytest.mark.parametrize("start", [0, 1])
def test_imageclef_is_flat_and_only_its_numbers_tell(tmp_path: Path, list_name: str, start: int) -> None:
    for letter in "cip":
        names = [f"{letter}/{n:02d}.jpg" for n in range(12)]
        pictures(tmp_path, names)
        rows = [(f"/data1/someone/image_CLEF/{name}", start + n) for n, name in enumerate(names)]
        listed(tmp_path / list_name.format(letter), rows)
    found = open_labelled(f"imageclef-da:{tmp_path}", "test")
    assert list(dict.fromkeys(found.domains)) == ["Caltech", "ImageNet", "Pascal"]
    assert found.labels == tuple(range(12)) * 3
    assert found.classes[11] == "people"


def test_a_class_that_no_image_has_does_not_shift_the_others(tmp_path: Path) -> None:
    """0-based lists without class 0; what is 0 or 12 in any domain tells for all of them."""
    pictures(tmp_path, [f"c/{n:02d}.jpg" for n in range(12)])
    listed(tmp_path / "c.txt", [(f"c/{n:02d}.jpg", n) for n in range(1, 11)])
    with pytest.raises(DataError, match=r"ImageCLEF-DA is numbered 1 to 10 here.* first of 12 classes is 0 or 1"):
        open_labelled(f"imageclef-da:{tmp_path}", "test")
    pictures(tmp_path, ["i/00.jpg", "i/05.jpg"])
    listed(tmp_path / "i.txt", [("i/00.jpg", 0), ("i/05.jpg", 5)])
    assert open_labelled(f"imageclef-da:{tmp_path}", "test").labels == (*range(1, 11), 0, 5)
    listed(tmp_path / "i.txt", [("i/00.jpg", 12), ("i/05.jpg", 5)])
    assert open_labelled(f"imageclef-da:{tmp_path}", "test").labels == (*range(10), 11, 4)


def test_numbered_folders_are_read_alike_in_every_domain(tmp_path: Path) -> None:
    pictures(tmp_path / "VLCS" / "CALTECH", [f"{n}/x.jpg" for n in (2, 3, 4)])
    with pytest.raises(DataError, match="VLCS is numbered 2 to 4 here"):
        open_labelled(f"vlcs:{tmp_path}", "test")
    pictures(tmp_path / "VLCS" / "PASCAL", [f"{n}/x.jpg" for n in range(5)])
    assert set(counted(f"vlcs:{tmp_path}")["Caltech101"]) == {"chair", "dog", "person"}


def test_visda_has_a_class_called_like_its_split(tmp_path: Path) -> None:
    names = [f"{name}/x.jpg" for name in ("aeroplane", "train", "truck")]
    for part in ("train", "validation", "test"):
        pictures(tmp_path / "visda17" / part, names)
    one = {"aeroplane": 1, "train": 1, "truck": 1}
    assert counted(f"visda-2017:{tmp_path}") == {"synthetic": one, "real": one}
    listed(tmp_path / "visda17" / "validation" / "image_list.txt", [("train/x.jpg", 10)])
    assert counted(f"visda-2017:{tmp_path}")["real"] == {"train": 1}


@pytest.mark.parametrize("title", ["Real World", "Real_World", "real_world"])
def test_officehome_spells_a_domain_in_three_ways(tmp_path: Path, title: str) -> None:
    pictures(tmp_path, [f"{title}/Alarm_Clock/1.jpg", "Art/Bed/1.jpg", f"{title}/Bed/1.jpg"])
    assert counted(f"officehome:{tmp_path}") == {"Art": {"Bed": 1}, "Real World": {"Alarm_Clock": 1, "Bed": 1}}
    rows = [(f"{title}/Alarm_Clock/1.jpg", 7), (f"{title}/Bed/1.jpg", 3)]
    listed(tmp_path / "image_list" / f"{title.replace(' ', '_')}.txt", rows)
    assert counted(f"officehome:{tmp_path}")["Real World"] == {"Alarm_Clock": 1, "Bed": 1}


def test_domainnet_joins_its_two_lists(tmp_path: Path) -> None:
    pictures(tmp_path, [f"sketch/zebra/{n}.jpg" for n in range(4)] + ["real/axe/0.jpg"])
    listed(tmp_path / "sketch_train.txt", [(f"sketch/zebra/{n}.jpg", 344) for n in (0, 1)])
    listed(tmp_path / "sketch_test.txt", [("sketch/zebra/2.jpg", 344)])
    assert counted(f"domainnet:{tmp_path}") == {"real": {"axe": 1}, "sketch": {"zebra": 3}}
    assert len(open_unlabeled(f"domainnet:{tmp_path}")) == 4


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("photo/dog/1.jpg", 0), ("photo/horse/1.jpg", 0)], "is class 0, which is 'dog' elsewhere"),
        ([("photo/dog/1.jpg", 0), ("photo/dog/9.jpg", 0)], "lacks 1 images of photo.txt, first photo/dog/9.jpg"),
        ([("photo/dog/1.jpg", 0), ("photo/dog/1.jpg", 1)], "mend the lists"),
        ([("elsewhere/1.jpg", 0)], "lists no image that is below"),
    ],
)
def test_a_list_that_cannot_be_true_is_refused(tmp_path: Path, rows: list[tuple[str, int]], told: str) -> None:
    tree(tmp_path)
    listed(tmp_path / "photo.txt", rows)
    with pytest.raises(DataError, match=told):
        open_labelled(f"pacs:{tmp_path}", "test")


def test_what_is_no_class_and_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no domain of PACS"):
        open_labelled(f"pacs:{tmp_path}", "test")
    pictures(tmp_path, ["photo/zebra/1.jpg"])
    with pytest.raises(DataError, match="'zebra' is no class of PACS"):
        open_labelled(f"pacs:{tmp_path}", "test")
    with pytest.raises(DataError, match="no split 'train' here"):
        open_labelled(f"pacs:{tmp_path}", "train")
