"""The rules of the house: one direction of imports, small pieces, a light command line, nothing of one machine."""

import ast
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
PACKAGE = SRC / "promptstill"

# From the top to the bottom: a module imports only what stands below its own line.
ORDER = (
    {"__init__", "__main__"},
    {"cli"},
    {"pipelines"},
    {"stages"},
    {"pages"},
    {"models", "data"},
    {"ops"},
    {"artifacts", "engine"},
    {"measuring"},
    {"settings", "assets", "exporting"},
    {"distilling", "naming"},
    {"config"},
    {"errors"},
)
RANK = {part: len(ORDER) - level for level, parts in enumerate(ORDER) for part in parts}
APART = {"stages"}  # the modules of these do not know each other; elsewhere modules of one folder may

MEDIAN_LINES, MOST_LINES, MODULE_LINES, MOST_PARAMETERS = 12, 80, 350, 8
HEAVY = ("torch", "torchvision", "open_clip", "timm", "diffusers", "kornia", "datasets", "sklearn", "matplotlib")
HELP_SECONDS = 1.0

# Written as patterns, so that this file does not hold what it forbids.
FOLDERS_OF_ONE_MACHINE = r"(?<![\w.~<>}/-])/(?:work|home|root|Users|opt|mnt|scratch)/\w"
HOSTS = ("pypi org", "pythonhosted org", "registry npmjs", "registry yarnpkg", "download pytorch org", "deb debian org")
PACKAGE_HOSTS = "|".join(host.replace(" ", r"\.") for host in HOSTS)
MACHINE = re.compile(f"{FOLDERS_OF_ONE_MACHINE}|{PACKAGE_HOSTS}")

FUNCTION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef)


class Import(NamedTuple):
    """One import inside the package: who (``stages/distill.py``), where, and the module it names."""

    file: Path
    line: int
    module: str


class Function(NamedTuple):
    """One function or method: where it is, how long (from ``def`` to its last line), how many parameters."""

    where: str
    lines: int
    parameters: int


def python_files(*folders: str) -> list[Path]:
    """All Python files under the folders of the repository that exist, in a stable order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def dotted(path: Path) -> str:
    """``src/promptstill/ops/losses.py`` -> ``promptstill.ops.losses``."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [dotted(path) for path in python_files("src")]


def place(path: Path) -> str:
    """A file as a reader finds it: relative to the repository."""
    return str(path.relative_to(ROOT))


def imported_modules(node: ast.AST) -> Iterator[str]:
    """The modules of this package that one statement imports; a name taken from a module counts as that module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = (f"{node.module}.{alias.name}" for alias in node.names)
        yield from (name if name in MODULES else node.module for name in names)


def imports_inside() -> list[Import]:
    """Every import of promptstill by promptstill, also those inside functions and for type checking only."""
    return [
        Import(path, node.lineno, module)
        for path in python_files("src")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in imported_modules(node)
        if module.split(".")[0] == "promptstill"
    ]


def part_of(module: str) -> str:
    """``promptstill.ops.losses`` -> ``ops``; the package itself -> ``__init__``."""
    return module.split(".")[1] if "." in module else "__init__"


def points_down(user: str, used: str) -> bool:
    """Whether module ``user`` may import module ``used``; a folder's ``__init__`` may gather its own modules."""
    above, below = part_of(user), part_of(used)
    if above != below:
        return RANK[above] > RANK[below]
    return above not in APART or user in used or used == f"promptstill.{above}"


def functions(*folders: str) -> list[Function]:
    """Every function and method of the folders; ``self`` and ``cls`` do not count as parameters."""
    return [
        Function(f"{place(path)}:{node.lineno} {node.name}", 1 + (node.end_lineno or 0) - node.lineno, parameters(node))
        for path in python_files(*folders)
        for node in ast.walk(tree(path))
        if isinstance(node, FUNCTION_NODES)
    ]


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters a caller can give, ``*args`` and ``**kwargs`` each as one."""
    a = node.args
    named = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    starred = [arg.arg for arg in (a.vararg, a.kwarg) if arg]
    return sum(name not in ("self", "cls") for name in (*named, *starred))


def run_python(code: str, *options: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that sees the sources, away from the repository's folder."""
    command = [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, {str(SRC)!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT / "tests")


def shipped_files() -> list[Path]:
    """The files git holds; the test is skipped where it holds none, as in an unpacked archive."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listing = ""
    paths = [path for name in sorted(set(listing.split("\0")) - {""}) if (path := ROOT / name).is_file()]
    return paths or pytest.skip("git holds no file here")


def report(offenders: list[str]) -> str:
    """One offender a line, for the message of an assertion."""
    return "\n".join(["", *offenders])


def test_every_module_has_a_place_in_the_order() -> None:
    homeless = sorted({part_of(module) for module in MODULES} - set(RANK))
    assert not homeless, f"{homeless} stand nowhere in ORDER (tests/test_house.py): decide what they may import"


def test_imports_point_downwards() -> None:
    offenders = [
        f"{place(use.file)}:{use.line} imports {use.module}"
        for use in imports_inside()
        if not points_down(dotted(use.file), use.module)
    ]
    assert not offenders, report(offenders)


@pytest.mark.parametrize(
    ("user", "used", "allowed"),
    [
        ("promptstill.cli", "promptstill.pipelines.from_names", True),
        ("promptstill.pipelines.from_names", "promptstill.stages.distill", True),
        ("promptstill.stages.distill", "promptstill.stages.teach", False),
        ("promptstill.stages.distill", "promptstill.pipelines.from_names", False),
        ("promptstill.models.clip", "promptstill.data.images", False),
        ("promptstill.data.images", "promptstill.models.clip", False),
        ("promptstill.models.student", "promptstill.models.clip", True),
        ("promptstill.ops.losses", "promptstill.engine", True),
        ("promptstill.artifacts", "promptstill.ops.losses", False),
        ("promptstill.errors", "promptstill", False),
    ],
)
def test_the_order_means_what_the_design_says(user: str, used: str, allowed: bool) -> None:
    assert points_down(user, used) is allowed


def test_half_of_the_functions_are_small() -> None:
    median = statistics.median(function.lines for function in functions("src"))
    assert median <= MEDIAN_LINES, f"the median function has {median} lines, the budget is {MEDIAN_LINES}"


def test_no_function_is_too_long_or_takes_too_much() -> None:
    offenders = [
        f"{function.where}: {function.lines} lines, {function.parameters} parameters"
        for function in functions("src", "recipes", "benchmarks", "tests")
        if function.lines > MOST_LINES or function.parameters > MOST_PARAMETERS
    ]
    assert not offenders, report(offenders)


def test_no_module_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files("src", "recipes")}
    offenders = [f"{place(path)}: {lines} lines" for path, lines in lengths.items() if lines > MODULE_LINES]
    assert not offenders, report(offenders)


def test_what_is_public_has_a_docstring() -> None:
    offenders = [
        f"{place(path)}:{node.lineno} {node.name}"
        for path in python_files("src")
        for node in tree(path).body
        if isinstance(node, (*FUNCTION_NODES, ast.ClassDef)) and not node.name.startswith("_")
        if not ast.get_docstring(node)
    ]
    offenders += [place(path) for path in python_files("src") if not ast.get_docstring(tree(path))]
    assert not offenders, report(offenders)


@pytest.mark.timeout(300)
def test_every_module_imports_without_a_warning() -> None:
    names = [name for name in MODULES if not name.endswith("__main__")]
    code = f"import importlib\nfor name in {names!r}:\n    print(name, flush=True)\n    importlib.import_module(name)"
    answer = run_python(code, "-W", "error")
    assert answer.returncode == 0, f"importing {answer.stdout.split()[-1]}:\n{answer.stderr}"


@pytest.mark.parametrize("module", ["promptstill", "promptstill.cli"])
def test_the_command_line_starts_without_the_heavy_libraries(module: str) -> None:
    answer = run_python(f"import {module}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert answer.returncode == 0, answer.stderr
    assert not answer.stdout.split(), f"importing {module} also imports {answer.stdout.split()}"


@pytest.mark.timeout(60)
def test_help_answers_at_once() -> None:
    code = "from promptstill.cli import main\nsys.argv = ['promptstill', '--help']\nsys.exit(main())"
    seconds = []
    for _ in range(3):  # the best of three, for a machine that has other work
        start = time.perf_counter()
        answer = run_python(code)
        seconds.append(time.perf_counter() - start)
        assert answer.returncode == 0, answer.stderr
        assert "from-names" in answer.stdout
    assert min(seconds) < HELP_SECONDS, f"--help took {min(seconds):.2f} s at best"


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_nothing_of_one_machine_is_shipped() -> None:
    offenders = []
    for path in shipped_files():
        content = path.read_bytes()
        if b"\0" in content[:8192]:
            continue
        numbered = enumerate(content.decode("utf-8", "replace").splitlines(), 1)
        offenders += [f"{place(path)}:{n} {hit[0]}" for n, line in numbered if (hit := MACHINE.search(line))]
    assert not offenders, report(offenders)


@pytest.mark.parametrize("text", ["cd /" + "work/x", "'/" + "home/me'", "https://pypi" + ".org/simple"])
def test_the_machine_pattern_finds(text: str) -> None:
    assert MACHINE.search(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{before}/{after}"
        for before, after in (
            ("runs", "work/x"),
            ("https://a.org", "home/x"),
            ("..", "work/x"),
            ("{root}", "work/x"),
            ("<out>", "home/x"),
        )
    ],
)
def test_the_machine_pattern_spares(text: str) -> None:
    assert not MACHINE.search(text)


def test_every_dependency_is_pinned() -> None:
    def plain(requirement: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()

    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {plain(each) for each in (*project["dependencies"], *extras["dev"], *extras["export"])}
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin) for pin in pins)
    assert wanted <= {plain(pin) for pin in pins}
