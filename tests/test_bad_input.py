"""Bad input is answered with one line on stderr and an exit code, before any work, and leaves nothing behind."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from promptstill.cli import main
from runs import Models, from_images
from tiny import make_pictures


class Case(NamedTuple):
    """What is changed in a command that would be good, and what must come of it. ``None`` takes an option away."""

    code: int
    words: tuple[str, ...]
    change: dict[str, str | None]
    sets: Sequence[str] = ()


NAMES: dict[str, Case] = {
    "no classes": Case(2, ("classes is missing",), {"classes": None}),
    "no out": Case(2, ("out is missing",), {"out": None}),
    "a class twice": Case(3, ("'dog' stands twice",), {"classes": "dog,cat,dog"}),
    "a class twice in another spelling": Case(3, ("'Hot Air' stands twice",), {"classes": "hot_air,Hot Air"}),
    "an empty class": Case(3, ("class name 2 is empty",), {"classes": "dog,,cat"}),
    "no class file": Case(3, ("no/such.txt does not exist",), {"classes": "no/such.txt"}),
    "an empty class file": Case(3, ("class name 1 is empty",), {"classes": "{empty}.txt"}),
    "a class file of bytes": Case(3, ("class file", "save it as UTF-8"), {"classes": "{bytes}.txt"}),
    "a class name that is too long": Case(3, ("over 24 tokens", "shorten it"), {"classes": "dog," + "cat " * 30}),
    "unknown teacher": Case(2, ("unknown model 'nanno'", "did you mean nano"), {"teacher": "nanno"}),
    "unknown openclip model": Case(2, ("did you mean ViT-B-32",), {"teacher": "openclip:ViT-B-23/openai"}),
    "unknown openclip tag": Case(2, ("choose one of openai",), {"teacher": "openclip:ViT-B-32/opnai"}),
    "unknown student": Case(2, ("unknown model 'resnet18'",), {"student": "resnet18"}),
    "unknown timm student": Case(2, ("did you mean timm:test_vit",), {"student": "timm:test_vitt"}),
    "unknown timm tag": Case(2, ("choose one of r160_in1k",), {"student": "timm:test_vit.x"}),
    "prompts for a student without": Case(2, ("has no prompts", "prompted:timm"), {}, ["distill.train=prompts"]),
    "a selection without data": Case(2, ("needs a --benchmark",), {"benchmark": None}, ["distill.select=test"]),
    "a head and features": Case(2, ("distill: ", "set distill.feature=0"), {}, ["distill.target=logit"]),
    "a store that is a file": Case(2, ("cannot keep a teacher store",), {"store": "{bytes}.txt"}),
    "unknown generator": Case(2, ("unknown generator 'dalle'", "nano-vqgan"), {"generator": "dalle"}),
    "unknown benchmark": Case(2, ("unknown benchmark 'imagenet'", "pictograms"), {"benchmark": "imagenet"}),
    "unknown preset": Case(2, ("unknown preset 'slow'", "fast, best"), {"preset": "slow"}),
    "unknown device": Case(2, ("device 'tpu' is not on this machine", "cpu"), {"device": "tpu"}),
    "unknown precision": Case(2, ("precision = '8-bit'",), {"precision": "8-bit"}),
    "a seed that is no number": Case(2, ("seed = 'many'",), {"seed": "many"}),
    "teacher without config": Case(4, ("no open_clip_config.json",), {"teacher": "dir:{folder}"}),
    "teacher without weights": Case(4, ("no weights", "open_clip_model.safetensors"), {"teacher": "dir:{config_only}"}),
    "teacher that is not here": Case(4, ("hf:nobody/nothing", "dir:PATH"), {"teacher": "hf:nobody/nothing"}),
    "student's weights that are not here": Case(4, ("do not exist",), {"student-weights": "no/such.pth"}),
    "student's hub weights offline": Case(4, ("--student-weights",), {"student": "timm:test_vit.r160_in1k"}),
    "a pipeline that is not here": Case(4, ("cannot load 'diffusers:no/such'",), {"generator": "diffusers:no/such"}),
    "a side that the generator has not": Case(
        2, ("a multiple of 4 here, not 18", "synthesize.image_size=16"), {}, ["synthesize.image_size=18"]
    ),
    "a class name that is too long with a style": Case(
        3, ("shorten it",), {"classes": "dog," + "cat " * 17}, ["diversify.strategy=contrastive"]
    ),
    "a style file with one style": Case(
        3, ("holds one style",), {}, ["diversify.strategy=mix", "diversify.styles={one_style}.txt"]
    ),
    "a style file that is not here": Case(
        3, ("no/styles.txt",), {}, ["diversify.strategy=mix", "diversify.styles=no/styles.txt"]
    ),
    "a style file of empty lines": Case(
        3, ("{empty}.txt",), {}, ["diversify.strategy=mix", "diversify.styles={empty}.txt"]
    ),
    "generator without weights": Case(4, ("no diffusers VQModel",), {"generator": "dir:{folder}"}),
    "no benchmark folder": Case(3, ("does not exist",), {"benchmark": "dir:no/such"}),
    "benchmark in another layout": Case(3, ("DOMAIN/CLASS",), {"benchmark": "dir:{pictures}"}),
    "benchmark without the classes": Case(3, ("none of the classes yak, gnu", "dog"), {"classes": "yak,gnu"}),
    "out is a file": Case(2, ("cannot write to", "--out"), {"out": "{bytes}.txt"}),
    "out below a file": Case(2, ("cannot write to", "--out"), {"out": "{bytes}.txt/run"}),
    "out holds other files": Case(2, ("not empty and holds no run", "--out"), {"out": "{pictures}"}),
    "out holds a foreign config": Case(2, ("config.yaml is no run's", "--out"), {"out": "{foreign}"}),
    "unknown key": Case(2, ("did you mean distill.epochs",), {}, ["distill.epoch=3"]),
    "a set without value": Case(2, ("stage.key=value",), {}, ["distill.epochs"]),
    "a set that is no YAML": Case(2, ("no YAML",), {}, ["distill.epochs=[1"]),
    "many mistakes": Case(
        2,
        ("seed = '-1'", "distill.lr = 0", "nope is unknown", "synthesize.steps = 0"),
        {"seed": "-1"},
        ["distill.lr=0", "nope=1", "synthesize.steps=0"],
    ),
    "a template without hole": Case(2, ("exactly one {}",), {}, ["vectors.templates=[a photo]"]),
    "a template that is too long": Case(3, ("shorten it",), {}, ["vectors.templates=['{} " + "very " * 30 + "good']"]),
    "no config file": Case(2, ("config file no/such.yaml does not exist",), {"config": "no/such.yaml"}),
    "a config that is no mapping": Case(2, ("holds no mapping",), {"config": "{list}.yaml"}),
    "a config with a Python object": Case(2, ("no YAML of plain data",), {"config": "{object}.yaml"}),
    "a size the clip student has not": Case(
        2, ("leave distill.image_size unset",), {"student": "dir:{clip}"}, ["distill.image_size=64"]
    ),
    "one class": Case(2, ("alone is nothing to tell apart",), {"classes": "dog"}),
    "one image only": Case(
        3,
        ("too few to learn from",),
        {},
        ["synthesize.gate=true", "diversify.images_per_class=1", "synthesize.steps=1"],
    ),
}

IMAGES: dict[str, Case] = {
    "no images": Case(2, ("images is missing",), {"images": None}),
    "no image folder": Case(3, ("no/such",), {"images": "no/such"}),
    "an empty image folder": Case(3, ("{folder}",), {"images": "{folder}"}),
    "images of no kind": Case(3, ("{bytes}",), {"images": "{bytes}.txt"}),
    "non-images": Case(3, ("bad.png",), {"images": "{bad}"}),
    "one image": Case(3, ("at least two",), {"images": "{one}"}),
    "a hub that is not here": Case(3, ("hf:nobody/nothing",), {"images": "hf:nobody/nothing"}),
    "a limit of one": Case(2, ("limit = '1'",), {"limit": "1"}),
    "a generator": Case(2, ("generator",), {"generator": "nano-vqgan"}),
}
LATE = {"one image only", "one image", "non-images"}  # known only after something was made


@pytest.fixture(scope="module")
def places(models: Models, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths for the table; the last part is added by it."""
    root = tmp_path_factory.mktemp("bad")
    for name in ("folder", "config_only", "bad", "foreign"):
        (root / name).mkdir()
    make_pictures(root / "one", 1)
    shutil.copy(models.clip / "open_clip_config.json", root / "config_only")
    for number in range(3):
        (root / "bad" / f"{number}bad.png").write_bytes(b"no picture")
    (root / "foreign" / "config.yaml").write_text("- another program's\n")
    (root / "empty.txt").write_text("\n")
    (root / "one_style.txt").write_text("cubism\n")
    (root / "bytes.txt").write_bytes(b"\xff\xfe\x00dog")
    (root / "list.yaml").write_text("- a\n")
    (root / "object.yaml").write_text("seed: !!python/object/apply:os.getpid []\n")
    names = ("folder", "config_only", "bad", "foreign", "one", "empty", "one_style", "bytes", "list", "object")
    return {name: str(root / name) for name in names} | {"pictures": str(models.pictures), "clip": str(models.clip)}


def filled(text: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        text = text.replace("{" + name + "}", path)
    return text


def command(verb: str, case: Case, models: Models, places: dict[str, str], out: Path) -> list[str]:
    given: dict[str, str | None] = {"classes": "dog,cat", "out": str(out), "teacher": f"dir:{models.clip}"}
    given |= {"student": "timm:test_byobnet", "benchmark": f"dir:{models.bench}", "device": "cpu"}
    own = {"generator": f"dir:{models.vqgan}"} if verb == "from-names" else {"images": str(models.pictures)}
    given |= own | case.change
    options = [
        part for key, value in given.items() if value is not None for part in (f"--{key}", filled(value, places))
    ]
    return [verb, *options, *(part for text in case.sets for part in ("--set", filled(text, places)))]


def files(*roots: Path | str) -> set[str]:
    return {str(path) for root in roots for path in Path(root).rglob("*")}


@pytest.mark.parametrize(
    ("verb", "name"), [("from-names", name) for name in NAMES] + [("from-images", name) for name in IMAGES]
)
def test_a_pipeline_refuses(
    verb: str,
    name: str,
    models: Models,
    places: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = (NAMES if verb == "from-names" else IMAGES)[name]
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = files(*places.values())
    quick = [] if name in LATE else ["--set", "distill.views=1"]
    code = main([*command(verb, case, models, places, tmp_path / "run"), *quick])
    captured = capsys.readouterr()
    assert code == case.code, captured.err
    for words in case.words:
        assert filled(words, places) in captured.err
    assert "Traceback" not in captured.err + captured.out
    if name != "a generator":  # the parser's own message has a frame
        assert captured.err.startswith("promptstill: ")
        assert captured.err.count("\n") == 1, captured.err
    assert captured.out == ""
    assert files(*places.values()) == before
    assert not list(elsewhere.iterdir())
    if name not in LATE:
        assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def student(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("student") / "run"
    assert main(from_images(models, out)) == 0
    return out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["predict", "no/such", "{pictures}/000.png"], 3, "no/such is no student"),
        (["predict", "{student}", "no/such.png"], 3, "no/such.png"),
        (["predict", "{student}", "{bad}/0bad.png"], 3, "bad.png"),
        (["predict", "{student}", "{pictures}"], 3, "cannot read"),
        (["evaluate", "{folder}", "--benchmark", "dir:{bench}"], 3, "is no student"),
        (["evaluate", "{student}", "--benchmark", "dir:no/such"], 3, "does not exist"),
        (["evaluate", "{student}", "--benchmark", "imagenet"], 2, "unknown benchmark"),
        (["evaluate", "{student}", "--benchmark", "dir:{bench}", "--teacher", "nanno"], 2, "did you mean nano"),
        (["evaluate", "{student}", "--benchmark", "dir:{bench}", "--json", "{bytes}.txt/x"], 2, "cannot write"),
        (["evaluate", "{student}", "--benchmark", "dir:{bench}", "--json", "{folder}"], 2, "cannot write"),
    ],
)
def test_the_other_verbs_refuse(
    arguments: list[str],
    code: int,
    words: str,
    models: Models,
    student: Path,
    places: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = places | {"student": str(student), "bench": str(models.bench)}
    capsys.readouterr()
    assert main([filled(text, known) for text in arguments]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("promptstill: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments", [["fly"], ["from-names", "--fly"], ["predict"], ["predict", "x", "y", "--top", "0"]]
)
def test_what_the_parser_refuses_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert shown.strip()


def test_the_mended_command_finds_its_folder_free(models: Models, places: dict[str, str], tmp_path: Path) -> None:
    case = Case(0, (), {"classes": "dog," + "cat " * 30})
    assert main(command("from-images", case, models, places, tmp_path / "run")) == 3
    mended = Case(0, (), {}, ["distill.epochs=1", "distill.views=1"])
    assert main(command("from-images", mended, models, places, tmp_path / "run")) == 0
