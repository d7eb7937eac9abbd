"""The report page of real runs: one file, nothing from elsewhere, told in words too, and safe against names."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from promptstill.cli import main
from promptstill.data.finished import read_metrics
from runs import Models, from_images, from_names, read
from tiny import make_benchmark

EVIL = "<b>x"


class Page(HTMLParser):
    """What a page holds: its elements with attributes, and its words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [attributes.get("id") for attributes in self.all("section")]


@pytest.fixture(scope="module")
def runs(models: Models, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run from names and one from images, on a benchmark with two more classes; one class has a spiteful name."""
    folder = tmp_path_factory.mktemp("finish")
    bench = make_benchmark(folder / "bench", ("dog", EVIL, "yak", "gnu"))
    given = {"classes": f"dog,{EVIL}", "benchmark": f"dir:{bench}"}
    assert main(from_names(models, folder / "a", **given)) == 0
    assert main(from_images(models, folder / "b", **given)) == 0
    return folder / "a", folder / "b"


@pytest.fixture(scope="module")
def pages(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    both = tmp_path_factory.mktemp("page") / "deep" / "both.html"
    assert main(["report", *map(str, runs), "--out", str(both)]) == 0
    return [Page(path) for path in (*(run / "5-report" / "index.html" for run in runs), both)]


def test_a_page_loads_nothing(pages: list[Page]) -> None:
    for page in pages:
        links = [a[key] or "" for _, a in page.elements for key in ("src", "href", "srcset", "action") if key in a]
        assert links
        assert all(link.startswith("data:image/webp;base64,") for link in links)
        assert not page.all("script")
        assert "url(" not in page.source
        assert "@import" not in page.source


def test_every_picture_is_told_in_words(pages: list[Page]) -> None:
    for page in pages:
        assert all(picture.get("alt") for picture in page.all("img"))
        for drawn in page.all("svg"):
            assert drawn.get("aria-label") or drawn.get("aria-hidden") == "true"


def test_names_are_text_and_nothing_else(pages: list[Page]) -> None:
    for page in pages:
        assert len(page.all("b")) == page.source.count("<b>"), "every <b> is one of ours"
        assert EVIL not in page.source.replace("<b>x</b>", "")
        assert any(EVIL in words for words in page.words)


def test_a_page_shows_all_there_is(pages: list[Page]) -> None:
    wanted = ["domains", "other-classes", "classes", "confusion", "calibration", "mistakes", "pictures", "training"]
    for page in pages:
        assert set(wanted) <= set(page.sections)
        assert page.sections[-2:] == ["cost", "provenance"]
    assert "A dog" in pages[0].source
    assert "overview" in pages[2].sections
    assert "2 runs side by side" in pages[2].source


def test_figures_are_those_of_the_report(runs: tuple[Path, Path], pages: list[Page]) -> None:
    for run, page in zip(runs, pages, strict=False):
        report = read(run / "5-report" / "report.json")
        assert f"{report['evaluation']['mean']['student']:.1f}\N{NO-BREAK SPACE}%" in page.source
        assert report["student_sha256"] in page.source
        assert report["other_classes"]["classes"] == 2
        assert report["other_classes"].keys() == report["evaluation"].keys()
        for who, found in report["calibration"].items():
            assert 0 <= found["ece"] <= 1
            assert sum(each["count"] for each in found["bins"]) == found["n"] == 12, who


def test_drawn_again_it_is_the_same(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = runs[0] / "5-report" / "index.html"
    before = path.read_bytes()
    path.unlink()
    assert main(["report", str(runs[0])]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert path.read_bytes() == before


def test_a_run_without_a_benchmark_has_a_page(models: Models, tmp_path: Path) -> None:
    arguments = from_images(models, tmp_path / "run")
    at = arguments.index("--benchmark")
    assert main(arguments[:at] + arguments[at + 2 :]) == 0
    page = Page(tmp_path / "run" / "5-report" / "index.html")
    assert page.sections == ["pictures", "training", "cost", "provenance"]
    assert "it was not measured" in page.source


@pytest.mark.parametrize("what", ["nothing", "no report", "a damaged record", "a file for a folder"])
def test_what_is_no_run_is_refused(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    run, out, code = tmp_path / "run", tmp_path / "page.html", 3
    if what != "nothing":
        shutil.copytree(runs[0] / "5-report", run / "5-report")
    if what == "no report":
        (run / "5-report" / "report.json").unlink()
    if what == "a damaged record":
        (run / "5-report" / "predictions.parquet").write_bytes(b"PAR1")
    if what == "a file for a folder":
        (tmp_path / "file").write_text("")
        out, code = tmp_path / "file" / "page.html", 2
    assert main(["report", str(run), "--out", str(out)]) == code
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert not out.exists()


def test_an_epoch_done_twice_counts_once(tmp_path: Path) -> None:
    rows = [{"stage": "distill", "epoch": 1, "loss": 9.0}, {"stage": "distill", "epoch": 1, "loss": 2.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join([json.dumps(row) for row in rows] + ['{"stage": "dis']))
    assert read_metrics(tmp_path / "metrics.jsonl") == rows[1:]
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_light_and_dark_have_the_same_colours_by_name(pages: list[Page]) -> None:
    light, dark = (re.findall(r"(--[\w]+): #", block) for block in re.findall(r":root \{([^}]*)\}", pages[0].source))
    assert light == dark
