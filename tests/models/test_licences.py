"""Licences are told as far as they are stated, and never made up."""

import json
from pathlib import Path

import pytest

from promptstill.models.licences import EMBEDDED, data_licence, model_licence


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("nano", EMBEDDED),
        ("prompted:nano-student", EMBEDDED),
        ("timm:resnet18.a1_in1k", "apache-2.0"),
        ("timm:resnet18", "random weights"),
        ("openclip:ViT-B-16/openai", "publisher of ViT-B-16/openai"),
        ("hf:some/model@abc", "publisher of some/model@abc"),
        ("prompted:runs/teacher", "the model that runs/teacher was made from"),
        ("nano+openclip:ViT-B-16/openai", f"nano: {EMBEDDED}; openclip:ViT-B-16/openai: that of"),
        ("pixels", "no weights"),
    ],
)
def test_a_model_s_licence(uri: str, told: str) -> None:
    assert told in model_licence(uri)


def test_a_folder_may_state_its_licence(tmp_path: Path) -> None:
    assert "not stated" in model_licence(f"dir:{tmp_path}")
    (tmp_path / "about.json").write_text(json.dumps({"licence": "MIT"}))
    assert model_licence(f"dir:{tmp_path}") == "MIT"


def test_the_licence_of_pictures() -> None:
    assert "CC-BY-4.0" in data_licence("pictograms")
    assert data_licence("photos/") == data_licence("dir:photos") == "your own data"
    assert "some/pictures" in data_licence("hf:some/pictures")
