"""The student bundle comes back the same, stands alone, and is refused when altered."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from promptstill.errors import DataError
from promptstill.models.bundle import load_bundle, save_bundle
from promptstill.models.clip import Clip
from promptstill.models.student import Student, make_student
from small_runs import CLASSES, vectors_of

FILES = {"model.safetensors", "config.json", "vectors.safetensors", "vectors.json"}


def saved(clip: Clip, uri: str, folder: Path) -> Student:
    student = make_student(uri, clip, None, None, 0)
    student.train()
    student(torch.rand(4, 3, 32, 32))  # statistics that are not those of the start
    folder.mkdir(parents=True, exist_ok=True)
    save_bundle(student.eval(), vectors_of(clip), {"seed": 5}, folder)
    return student


@pytest.mark.parametrize("kind", ["timm:test_byobnet", "timm:test_vit", "clip", "prompted"])
def test_a_bundle_comes_back_the_same_wherever_it_is(clip: Clip, clip_dir: Path, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "teacher"
    shutil.copytree(clip_dir, source)
    uris = {"clip": f"dir:{source}", "prompted": f"prompted:dir:{source}"}
    student = saved(clip, uris.get(kind, kind), tmp_path / "a")
    shutil.rmtree(source)  # a bundle needs nothing but itself
    moved = shutil.move(tmp_path / "a", tmp_path / "b")
    assert {path.name for path in Path(moved).iterdir()} == FILES
    bundle = load_bundle(Path(moved))
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        wanted = vectors_of(clip).scale * student(images) @ torch.from_numpy(vectors_of(clip).vectors).T
        torch.testing.assert_close(bundle.module()(images), wanted)
    assert bundle.vectors.names == tuple(bundle.config["labels"]) == CLASSES
    assert bundle.config["training"] == {"seed": 5}
    assert not bundle.student.training


@pytest.mark.parametrize("name", ["model.safetensors", "vectors.safetensors", "vectors.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_an_altered_bundle_is_refused(clip: Clip, tmp_path: Path, name: str, how: str) -> None:
    saved(clip, "timm:test_byobnet", tmp_path)
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data) if how == "flip" else bytes(data[:-9]))
    if how == "remove":
        path.unlink()
    with pytest.raises(DataError, match="missing or was altered"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("what", ["labels", "mean"])
def test_an_altered_configuration_is_refused(clip: Clip, tmp_path: Path, what: str) -> None:
    saved(clip, "timm:test_byobnet", tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    if what == "labels":
        content["labels"].reverse()
    else:
        content["architecture"]["preprocess"]["mean"] = [0.4, 0.5, 0.5]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"config\.json was altered"):
        load_bundle(tmp_path)


def test_what_is_no_bundle_is_refused(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no student"):
        load_bundle(tmp_path / "nowhere")
    saved(clip, "timm:test_byobnet", tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DataError, match="format 99, wanted 1"):
        load_bundle(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(DataError, match="is no student"):
        load_bundle(tmp_path)
