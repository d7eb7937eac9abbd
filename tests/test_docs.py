"""What the documentation tells people to type works: Python is run, verbs are run or parsed, options must be known."""

import re
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import promptstill
from promptstill import cli
from promptstill.pipelines import from_images, from_names
from runs import PAINT, SMALL, Models

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = {"predict", "report", "list"}  # verbs that are quick on a tiny student; the others are parsed
ELSEWHERE = {"pip", "make", "python"}  # programs that are not ours


class Snippet(NamedTuple):
    """A fenced block: where it stands, its language, its text."""

    place: str
    language: str
    text: str


class Reached(BaseException):
    """A pipeline would have started with these settings."""


def snippets(*languages: str) -> list[Snippet]:
    """The fenced blocks of README and docs in these languages."""
    found = [
        Snippet(f"{page.name}:{page.read_text()[: block.start()].count(chr(10)) + 1}", block[1], block[2])
        for page in PAGES
        for block in re.finditer(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    return [snippet for snippet in found if snippet.language in languages]


def commands(text: str) -> list[list[str]]:
    """The commands of a block, split as a shell would."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def tiny_run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of tiny models."""
    out = tmp_path_factory.mktemp("docs") / "run"
    tiny_from_names(models)(["dog", "cat"], out=out, benchmark=f"dir:{models.bench}")
    return out


def tiny_from_names(models: Models) -> Any:
    """``promptstill.from_names`` with tiny models and few steps."""
    given: dict[str, Any] = {"teacher": f"dir:{models.clip}", "student": "timm:test_byobnet", "device": "cpu"}
    return partial(from_names.from_names, generator=f"dir:{models.vqgan}", set=(*SMALL, *PAINT), **given)


@pytest.fixture
def desk(models: Models, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the documentation assumes: pictures, class names, finished runs."""
    for name in ("names", "images", "student"):
        shutil.copytree(tiny_run, tmp_path / "runs" / name)
    shutil.copytree(models.pictures, tmp_path / "photos")
    shutil.copy(models.pictures / "000.png", tmp_path / "picture.png")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_snippets_and_all_languages_are_known() -> None:
    fenced = [line for page in PAGES for line in page.read_text().splitlines() if re.match(r"```\w", line)]
    assert {line.removeprefix("```").strip() for line in fenced} <= {"bash", "python", "text", "html", "yaml", "json"}
    assert len(snippets("bash")) > 3
    assert len(snippets("python")) > 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # json.load(open(path)) is how people write
@pytest.mark.parametrize("snippet", snippets("python"), ids=lambda snippet: snippet.place)
def test_python_runs(snippet: Snippet, models: Models, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "from_names" in snippet.text:
        shutil.rmtree(desk / "runs")
    if "deploy/onnx" in snippet.text:
        pytest.importorskip("onnxruntime")
        assert cli.main(["export", "runs/names", "--format", "onnx", "--out", "deploy/onnx"]) == 0
    monkeypatch.setattr(promptstill, "from_names", tiny_from_names(models), raising=False)
    exec(compile(snippet.text, snippet.place, "exec"), {"__name__": "__main__", "promptstill": promptstill})


@pytest.mark.parametrize("snippet", snippets("bash"), ids=lambda snippet: snippet.place)
def test_commands_are_known(snippet: Snippet, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(settings: object) -> None:
        raise Reached(settings)

    for pipeline in (from_names, from_images):
        monkeypatch.setattr(pipeline, "run", stop)
    for program, *arguments in commands(snippet.text):
        if program != "promptstill":
            assert program in ELSEWHERE, f"{snippet.place}: {program}"
            if program == "make":
                assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif arguments[0] in ("from-names", "from-images") and "--dry-run" not in arguments:
            with pytest.raises(Reached):
                cli.main(arguments)
        elif arguments[0] in RUN:
            assert cli.main(arguments) == 0
        else:
            parse(arguments)


def parse(arguments: list[str]) -> None:
    """Parse a command without running it; an unknown verb or option, or a missing argument, is an error."""
    command: Any = typer.main.get_command(cli.app)
    verb, rest = "promptstill", list(arguments)
    while known := getattr(command, "commands", None):
        verb = rest.pop(0)
        command = known[verb]
    command.make_context(verb, rest)


UNKNOWN = ("evaluate run --bench x", "nothing", "protocol nothing", "evaluate", "predict run --top 0 a.png")


@pytest.mark.parametrize("line", UNKNOWN)
def test_an_unknown_option_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"nothing|option|Missing|Input|unexpected"):
        parse(shlex.split(line))
