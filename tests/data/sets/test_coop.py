"""The published splits: order, names, numbers and halves are theirs; what contradicts itself is refused."""

import json
from pathlib import Path

import pytest

from layouts import SYNSETS, aircraft, imagenet, pictures, zhou
from promptstill.data.index import load_index, save_index
from promptstill.data.labelled import open_labelled, open_unlabeled
from promptstill.data.sets.coop import LISTED
from promptstill.errors import DataError

RAW = {  # what some copies of the lists call a class, and what CoOp calls it
    "caltech101": ("airplanes", "airplane"),
    "oxford-pets": ("Abyssinian", "abyssinian"),
    "stanford-cars": ("Acura RL Sedan 2012", "2012 Acura RL Sedan"),
    "sun397": ("/a/apse/indoor", "indoor apse"),
    "eurosat": ("SeaLake", "Sea or Lake"),
    "ucf101": ("ApplyEyeMakeup", "Apply_Eye_Makeup"),
}


@pytest.mark.parametrize("name", list(LISTED))
def test_every_list_is_read_in_its_order(tmp_path: Path, name: str) -> None:
    which = LISTED[name]
    rows = zhou(tmp_path / which.folder, which.title, which.images, ("zebra fish", "apple", "emu"))
    for place in (tmp_path, tmp_path / which.folder):
        for split in ("train", "val", "test"):
            data = open_labelled(f"{name}:{place}", split)
            assert data.images.ids == tuple(path for path, _, _ in rows[split])
            assert [data.classes[n] for n in data.labels] == [c for _, _, c in rows[split]]
    assert data.classes == ("zebra fish", "apple", "emu")  # by number, not by name
    assert (data.base, data.novel) == (("zebra fish", "apple"), ("emu",))
    assert data.images.read(0).size == (8, 8)


@pytest.mark.parametrize("name", list(RAW))
def test_class_names_are_those_of_coop_however_raw_the_list(tmp_path: Path, name: str) -> None:
    which, (raw, wanted) = LISTED[name], RAW[name]
    for place, given in (("raw", raw), ("done", wanted)):
        zhou(tmp_path / place, which.title, which.images, (given, "other"))
        assert open_labelled(f"{name}:{tmp_path / place}", "test").classes == (wanted, "other")


def test_caltech_drops_its_two_extra_folders(tmp_path: Path) -> None:
    zhou(tmp_path, "Caltech101", "101_ObjectCategories", ("BACKGROUND_Google", "Faces", "Faces_easy", "crab"))
    data = open_labelled(f"caltech101:{tmp_path}", "train")
    assert data.classes == ("face", "crab")
    assert data.labels == (1, 1, 1, 0, 0, 0)


def test_templates_are_the_data_sets_own(tmp_path: Path) -> None:
    zhou(tmp_path, "DescribableTextures", "images", ("banded", "dotted"))
    assert open_labelled(f"dtd:{tmp_path}", "test").template == "{} texture."


def test_aircraft_come_from_lists_of_ids(tmp_path: Path) -> None:
    aircraft(tmp_path / "fgvc_aircraft" / "data")
    data = open_labelled(f"fgvc_aircraft:{tmp_path}", "test")
    assert data.classes == ("707-320", "A340-500", "Cessna 172")
    assert data.labels == (2, 0, 1)
    assert data.images.ids == ("200.jpg", "201.jpg", "202.jpg")


def broken(rows: dict[str, list[list[object]]], how: str) -> None:
    if how == "two names":
        rows["test"][0][2] = "toad"
    elif how == "no training":
        rows["train"] = [row for row in rows["train"] if row[1] != 1]
    elif how == "same name":
        for row in (row for part in rows.values() for row in part):
            row[2] = "toad"
    elif how == "gone":
        rows["val"].append(["c0/none.jpg", 0, "frog"])
    elif how == "outside":
        rows["val"].append(["../secret.jpg", 0, "frog"])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("two names", "class 1 is called 'newt' and 'toad'"),
        ("no training", "no training image of 'newt'"),
        ("same name", "two classes are called 'toad'"),
        ("gone", "lacks 1 listed images, first c0/none.jpg"),
        ("outside", "leaves that folder"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(tmp_path: Path, how: str, told: str) -> None:
    zhou(tmp_path, "Food101", "images", ("frog", "newt"))
    path = tmp_path / "split_zhou_Food101.json"
    rows = json.loads(path.read_text())
    broken(rows, how)
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=told):
        open_labelled(f"food101:{tmp_path}", "val")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no split_zhou_EuroSAT.json; give the folder eurosat/"):
        open_labelled(f"eurosat:{tmp_path}", "train")
    (tmp_path / "split_zhou_EuroSAT.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="is no list of"):
        open_labelled(f"eurosat:{tmp_path}", "train")


def test_a_run_finds_the_very_images_of_a_set_again(tmp_path: Path) -> None:
    zhou(tmp_path / "data" / "dtd", "DescribableTextures", "images", ("banded", "dotted"))
    images = open_unlabeled(f"dtd:{tmp_path / 'data'}", limit=4)
    save_index(images, (), tmp_path / "index")
    again, _ = load_index(tmp_path / "index")
    assert again.ids == images.ids
    assert len(images) == 4
    assert [again.data(i) for i in range(4)] == [images.data(i) for i in range(4)]


@pytest.mark.parametrize("inner", ["images", "imagenet/images", "."])
def test_imagenet_is_scanned_in_one_order(tmp_path: Path, inner: str) -> None:
    imagenet(tmp_path, inner)
    train, test = (open_labelled(f"imagenet:{tmp_path}", split) for split in ("train", "test"))
    assert train.classes == ("tench", "goldfish", "missile", "projectile")
    assert train.images.ids[:2] == (f"{SYNSETS[0]}/{SYNSETS[0]}_10.JPEG", f"{SYNSETS[0]}/{SYNSETS[0]}_2.JPEG")
    assert train.labels == test.labels == (0, 0, 1, 1, 2, 2, 3, 3)
    with pytest.raises(DataError, match="its test split"):
        open_labelled(f"imagenet:{tmp_path}", "val")


def test_classnames_beside_the_data_count(tmp_path: Path) -> None:
    imagenet(tmp_path)
    names = ("barbel", "koi", "missile", "missile")
    (tmp_path / "classnames.txt").write_text("".join(f"{s} {n}\n" for s, n in zip(SYNSETS, names, strict=True)))
    assert open_labelled(f"imagenet:{tmp_path}", "test").classes == ("barbel", "koi", "missile", "projectile")
    (tmp_path / "images" / "val" / "n09999999").mkdir()
    with pytest.raises(DataError, match="n09999999 is no class of ImageNet"):
        open_labelled(f"imagenet:{tmp_path}", "test")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("imagenet-a", "imagenet-adversarial/imagenet-a"),
        ("imagenet_r", "imagenet-rendition/imagenet-r"),
        ("imagenet-sketch", "imagenet-sketch/images"),
    ],
)
def test_variants_go_by_synset(tmp_path: Path, name: str, place: str) -> None:
    pictures(tmp_path / place, (f"{synset}/a.jpg" for synset in SYNSETS[1:3]))
    (tmp_path / place / "README.txt").write_text("no class")
    data = open_labelled(f"{name}:{tmp_path}", "test")
    assert (data.classes, data.labels) == (("goldfish", "missile"), (0, 1))
    with pytest.raises(DataError, match="no split 'train'"):
        open_labelled(f"{name}:{tmp_path}", "train")
    assert len(open_unlabeled(f"{name}:{tmp_path}")) == 2


def test_v2_goes_by_number_and_not_by_the_order_of_texts(tmp_path: Path) -> None:
    folder = tmp_path / "imagenetv2" / "imagenetv2-matched-frequency-format-val"
    pictures(folder, ("0/a.jpg", "10/a.jpg", "2/a.jpg"))
    data = open_labelled(f"imagenetv2:{tmp_path}", "test")
    assert data.classes == ("tench", "great white shark", "brambling")
    assert data.images.ids == ("0/a.jpg", "2/a.jpg", "10/a.jpg")


def test_a_set_is_found_by_its_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="did you mean caltech101:PATH"):
        open_labelled(f"caltech:{tmp_path}", "test")
