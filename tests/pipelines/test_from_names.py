"""Class names in, verified classifier out: the whole story on tiny models, by the command line and by Python."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import promptstill
from promptstill.artifacts import sha256
from promptstill.cli import main
from promptstill.config import resolve
from promptstill.errors import UsageError
from promptstill.pipelines.export import own_images
from promptstill.settings import FromNames, preset
from runs import LISTING, PAINT, SMALL, Models, from_names, products, read


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("names") / "run"
    assert main(from_names(models, out)) == 0
    return out


def stamps(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "run.log"}


def test_the_run_folder_is_as_promised(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == LISTING
    for stage in sorted(LISTING)[:5]:
        assert read(run / stage / "done.json")["seconds"] >= 0
    bundle = {"model.safetensors", "config.json", "vectors.safetensors", "vectors.json", "README.md", "done.json"}
    assert {path.name for path in (run / "4-student").iterdir()} == bundle
    assert not list(run.rglob("*.part")) + list(run.rglob("*.ckpt")) + list(run.rglob("spent.json"))


def test_the_report_says_what_was_asked_and_what_came_out(run: Path, models: Models) -> None:
    report = read(run / "5-report" / "report.json")
    assert report["pipeline"] == "from-names"
    assert report["classes"] == ["dog", "cat"]
    assert report["teacher"] == f"dir:{models.clip}"
    assert report["selected_on_test_data"] is False
    assert report["strictness"].startswith("No real image was used; the generator (dir:")
    assert report["student_sha256"] == sha256(run / "4-student" / "model.safetensors")
    assert report["stages"]["3-images"]["images"] == 6
    assert 0 <= report["stages"]["3-images"]["recognised_by_teacher"] <= 1
    assert report["backbone"] == "random"
    assert set(report["evaluation"]["domains"]) == {"ink", "paint"}
    assert report["evaluation"]["chance"] == 50
    for who in ("teacher", "student"):
        assert report["cost"][who].keys() == {"parameters", "macs", "latency_ms", "megabytes"}
        assert 0 <= report["evaluation"]["mean"][who] <= 100
    assert report["settings"]["distill"]["epochs"] == 2
    assert report["versions"]["promptstill"] == promptstill.__version__


def test_an_export_finds_the_surrogate_images_beside_their_sheet(run: Path) -> None:
    assert (run / "3-images" / "sheet.png").is_file()
    images = own_images(run)
    assert images is not None
    assert len(images) == 6


def test_the_metrics_have_a_line_an_epoch_and_the_log_tells_the_stages(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [("distill", 1), ("distill", 2)]
    log = (run / "run.log").read_text()
    assert all(f"{stage}: done" in log for stage in sorted(LISTING)[:5])


def test_the_card_has_the_reports_numbers(run: Path) -> None:
    card, report = (run / "4-student" / "README.md").read_text(), read(run / "5-report" / "report.json")
    assert "Classes: dog, cat." in card
    assert f"| mean | {report['evaluation']['mean']['teacher']:.1f} |" in card
    assert report["strictness"] in card


def test_a_finished_run_started_again_does_nothing(
    run: Path, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(run)
    assert main(from_names(models, run)) == 0
    assert stamps(run) == before
    assert f"Made {run / '4-student'}" in capsys.readouterr().out.replace("\n", " ").replace("  ", " ")


def api(models: Models, out: Path, **more: Any) -> Any:
    given: dict[str, Any] = {"teacher": f"dir:{models.clip}", "student": "timm:test_byobnet", "device": "cpu"}
    given |= {"generator": f"dir:{models.vqgan}", "benchmark": f"dir:{models.bench}", "set": (*SMALL, *PAINT)}
    return promptstill.from_names(["dog", "cat"], out, **(given | more))


def test_python_gives_the_same_result_as_the_command_line(run: Path, models: Models, tmp_path: Path) -> None:
    report = api(models, tmp_path / "run")
    assert products(tmp_path / "run") == products(run)
    theirs = read(run / "5-report" / "report.json")
    assert report.content["evaluation"] == theirs["evaluation"]
    assert (tmp_path / "run" / "config.yaml").read_text() == (run / "config.yaml").read_text()
    assert api(models, run).content == theirs, "the same settings continue the same run"


def test_another_setting_is_refused_in_the_same_folder(
    run: Path, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(run)
    assert main(from_names(models, run, set=["distill.epochs=3"])) == 2
    message = capsys.readouterr().err
    assert "holds another run (distill.epochs: 2 there, 3 here)" in message
    assert message.count("\n") == 1
    with pytest.raises(UsageError, match="seed: 0 there, 1 here"):
        api(models, run, seed=1)
    assert stamps(run) == before


def test_the_config_of_a_run_makes_the_same_run_again(run: Path, tmp_path: Path) -> None:
    again = ["from-names", "--config", str(run / "config.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(again) == 0
    assert products(tmp_path / "run") == products(run)


def test_another_seed_makes_other_images_and_another_student(run: Path, models: Models, tmp_path: Path) -> None:
    assert main(from_names(models, tmp_path / "run", seed=1)) == 0
    ours, theirs = products(tmp_path / "run"), products(run)
    differing = {name for name in ours if ours[name] != theirs[name]}
    images = {"3-images/shard-00000.parquet", "3-images/shard-00001.parquet"}
    assert differing == {*images, "4-student/model.safetensors"}


def test_a_student_from_a_clip_tower_without_a_benchmark(models: Models, tmp_path: Path) -> None:
    arguments = from_names(models, tmp_path / "run", student=f"dir:{models.clip}")
    at = arguments.index("--benchmark")
    assert main(arguments[:at] + arguments[at + 2 :]) == 0
    assert read(tmp_path / "run" / "5-report" / "report.json")["evaluation"] is None
    assert "It was not measured" in (tmp_path / "run" / "4-student" / "README.md").read_text()
    assert promptstill.load(tmp_path / "run").labels == ("dog", "cat")


def test_a_run_without_a_generator_says_so_and_draws_its_prompts(models: Models, tmp_path: Path) -> None:
    sets = ["synthesize.steps=1", "synthesize.gate=true", "diversify.picture=true", "diversify.images_per_class=6"]
    assert main(from_names(models, tmp_path / "run", generator="pixels", set=sets)) == 0
    report = read(tmp_path / "run" / "5-report" / "report.json")
    assert "(pixels) was trained on: no images at all" in report["strictness"]
    assert report["stages"]["2-prompts"]["picture"] == "map.png"
    assert (tmp_path / "run" / "2-prompts" / "map.png").is_file()
    assert (tmp_path / "run" / "3-images" / "sheet.png").is_file()
    images = report["stages"]["3-images"]
    assert images["images"] + images["dropped"]["not_recognised"] == 12
    assert images["dropped"]["not_recognised"] > 0, "a teacher of random weights does not know them all"


def test_the_paper_preset_is_the_published_one(tmp_path: Path) -> None:
    base = preset("from-names", "paper")
    chosen = resolve(FromNames, {"classes": "dog,cat", "out": tmp_path / "run"}, base=base)
    paint, prompts = chosen.synthesize, chosen.diversify
    assert (paint.steps, paint.lr, paint.cutouts, paint.noise, paint.batch_size) == (500, 0.15, 32, 0.1, 8)
    assert (paint.start, paint.gate) == ("codes", False)
    assert not any((paint.smooth, paint.keep_class, paint.coarse, paint.settled, paint.sure, paint.warm_steps))
    assert (prompts.strategy, prompts.images_per_class, prompts.spread) == ("contrastive", 3000, 10)
    push = prompts.contrast
    assert (push.lr, push.steps, push.batch_size, push.negatives, push.anchor) == (0.1, 100, 256, 2048, 0)


def test_a_stage_that_is_removed_is_made_again_the_same(models: Models, tmp_path: Path) -> None:

    out = tmp_path / "run"
    assert main(from_names(models, out)) == 0
    wanted = products(out)
    for stage in ("4-student", "5-report"):
        shutil.rmtree(out / stage)
    (out / "3-images" / "shard-00001.parquet").unlink()
    (out / "3-images" / "done.json").unlink()
    assert main(from_names(models, out)) == 0
    assert products(out) == wanted
