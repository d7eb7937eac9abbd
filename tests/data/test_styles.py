"""The paper's table is whole and in order; a user's own list is taken as written or refused with its line."""

from pathlib import Path

import pytest

from promptstill.data.styles import LEAKS, NAMED, STRICT, STYLES, load_styles
from promptstill.errors import DataError, UsageError

# Words of the test domains themselves, and the near-synonyms that the paper's own table holds.
SPOKEN = ("quickdraw", "drawing", "comic", "graphic", "pencil illustration", "charcoal", "Pen and Ink")
SEEN = ("photorealism", "realistic", "film", "infograph", "wash painting")


def test_the_table_has_86_styles_in_the_papers_order() -> None:
    assert len(STYLES) == len(set(STYLES)) == 86
    assert STYLES[:8] == ("image", "graph", "picture", "figure", "diagram", "plot", "Midcentury", "fantasy")
    assert STYLES[8::8][:10] == (
        "view",
        "Camille Pissarro",
        "Futurism",
        "Sandro Botticelli",
        "Architectural",
        "Kerch",
        "false-color",
        "noir",
        "graffiti",
        "pointillism",
    )
    assert STYLES[-1] == "charcoal"
    assert "Michelangelo Caravaggio" in STYLES, "one entry: two would make 87"


def test_the_strict_list_names_no_test_domain() -> None:
    assert not {*SPOKEN, *SEEN} & set(STRICT)
    assert not [style for style in STRICT for word in ("paint", "sketch", "photo", "cartoon", "clip") if word in style]
    leaks = [style for words in LEAKS.values() for style in words]
    assert set(leaks) <= set(STYLES)
    assert len(STRICT) == 86 - len(leaks)


@pytest.mark.parametrize("name", NAMED)
def test_named_lists_are_loaded(name: str) -> None:
    assert load_styles(name) == NAMED[name]


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\ufeffstained glass\n origami, folded \n", encoding="utf-8")
    assert load_styles(str(tmp_path / "mine.txt")) == ("stained glass", "origami, folded")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("origami\n\nlego\n", "line 2 of .* is empty; remove it"),
        ("origami\n\n", "line 2 of .* is empty"),
        ("", "holds no style"),
        ("Origami\nlego\norigami\n", "lines 1 and 3 of .* are the same style 'origami'"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "mine.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        load_styles(str(tmp_path / "mine.txt"))


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown styles 'stric' \(did you mean strict\?\)"):
        load_styles("stric")
    with pytest.raises(DataError, match="cannot read the styles"):
        load_styles(str(tmp_path / "nowhere.txt"))
    (tmp_path / "latin.txt").write_bytes(b"pap\xe9terie\n")
    with pytest.raises(DataError, match="no UTF-8 text"):
        load_styles(str(tmp_path / "latin.txt"))
