"""A dry run says what would be done, and writes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from promptstill.cli import main
from promptstill.config import resolve
from promptstill.pipelines.plan import plan_from_images, plan_from_names
from promptstill.settings import FromImages, FromNames
from runs import Models, from_images, from_names


def test_it_names_the_stages_and_counts_the_images(models: Models, tmp_path: Path) -> None:
    given = {"classes": "dog,cat", "out": tmp_path / "run", "teacher": f"dir:{models.clip}"}
    given |= {"student": "timm:test_vit", "benchmark": f"dir:{models.bench}", "generator": f"dir:{models.vqgan}"}
    needs = plan_from_names(resolve(FromNames, given, overrides=["diversify.images_per_class=7"]))
    assert [(need.stage, need.images) for need in needs] == [
        ("1-vectors", 0),
        ("2-prompts", 14),
        ("3-images", 14),
        ("4-student", 14),
        ("5-report", 12),
    ]
    assert all(need.seconds >= 0 and need.megabytes >= 0 for need in needs)
    del given["generator"]
    needs = plan_from_images(resolve(FromImages, given | {"images": str(models.pictures)}))
    assert [(n.stage, n.images) for n in needs] == [
        ("1-vectors", 0),
        ("3-images", 10),
        ("4-student", 10),
        ("5-report", 12),
    ]


def test_more_work_is_planned_longer(models: Models, tmp_path: Path) -> None:
    given = {"classes": "dog,cat", "out": tmp_path / "run", "teacher": f"dir:{models.clip}"}
    given |= {"student": "timm:test_vit", "images": str(models.pictures)}
    short, long = (
        plan_from_images(resolve(FromImages, given, overrides=[f"distill.epochs={epochs}"]))[-2].seconds
        for epochs in (1, 1000)
    )
    assert long > 10 * short


def test_pushing_prompts_apart_is_planned_longer_than_writing_them(models: Models, tmp_path: Path) -> None:
    given = {"classes": "dog,cat", "out": tmp_path / "run", "teacher": f"dir:{models.clip}"}
    given |= {"student": "timm:test_vit", "generator": f"dir:{models.vqgan}"}
    sets = ["diversify.template='{} in'", "diversify.images_per_class=500"]
    seconds = {
        strategy: plan_from_names(resolve(FromNames, given, overrides=[*sets, f"diversify.strategy={strategy}"]))[
            1
        ].seconds
        for strategy in ("baseline", "mix", "random", "contrastive")
    }
    assert seconds["contrastive"] > 5 * seconds["baseline"]


@pytest.mark.parametrize("story", [from_names, from_images])
def test_nothing_is_written(
    story: Callable[..., list[str]], models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*story(models, tmp_path / "run"), "--dry-run"]) == 0
    assert not list(tmp_path.iterdir())
    shown = capsys.readouterr().out
    assert "nothing was written" in shown
    assert "4-student" in shown
