"""Contact sheets and maps are pictures, whatever the number of classes; a map needs enough points."""

from pathlib import Path

import numpy as np
from PIL import Image

from promptstill.data.sheet import contact_sheet, draw_map


def test_a_sheet_has_a_row_a_class_of_any_length(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    contact_sheet({"dog": pictures, "cat": [], "a very long name of a class": pictures[:1]}, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.getcolors(sheet.width * sheet.height) or ()}
        assert {(255, 0, 0), (0, 0, 255), (255, 255, 255)} <= colours
        assert sheet.height > 3 * 96


def test_a_map_of_prompts_and_why_there_is_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(24, 8)).astype(np.float32), np.arange(24) % 3
    assert draw_map(points, labels, ("a", "b", "c"), tmp_path / "map.png") == "map.png"
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width > 500
    few = draw_map(points[:4], labels[:4], ("a", "b", "c"), tmp_path / "few.png")
    assert few == "left out: there are too few prompts"
    assert not (tmp_path / "few.png").exists()
