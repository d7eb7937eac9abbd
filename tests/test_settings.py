"""Settings are merged in one order, closed, frozen, and every mistake is named in one message."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from promptstill.config import resolve
from promptstill.errors import DataError, UsageError
from promptstill.naming import read_names
from promptstill.settings import PRESETS, Distill, FromImages, FromNames, preset

GIVEN: dict[str, Any] = {"classes": "dog,cat", "out": "run"}


def names(**more: Any) -> FromNames:
    return resolve(FromNames, GIVEN | more)


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_later_layers_win(tmp_path: Path) -> None:
    base = {"distill": {"epochs": 1, "views": 1, "lr": 0.1, "kl": 9.0}}
    config = written(tmp_path / "c.yaml", {"distill": {"epochs": 2, "views": 2, "lr": 0.2}})
    values = GIVEN | {"distill": {"epochs": 3, "views": 3}}
    chosen = resolve(FromNames, values, base=base, config=config, overrides=["distill.epochs=4", "distill.epochs=5"])
    assert (chosen.distill.epochs, chosen.distill.views, chosen.distill.lr, chosen.distill.kl) == (5, 3, 0.2, 9.0)


def test_one_key_of_a_group_leaves_the_pipelines_own_defaults_alone() -> None:
    plain, changed = names(), resolve(FromNames, GIVEN, overrides=["distill.lr=0.5"])
    assert changed.distill == plain.distill.model_copy(update={"lr": 0.5})


def test_a_group_given_as_an_object_is_merged_like_a_mapping() -> None:
    chosen = resolve(FromNames, GIVEN | {"distill": Distill(views=2)}, overrides=["distill.epochs=7"])
    assert chosen.distill == names().distill.model_copy(update={"views": 2, "epochs": 7})


def test_an_explicit_null_wins(tmp_path: Path) -> None:
    config = written(tmp_path / "c.yaml", {"distill": {"image_size": 64}})
    assert resolve(FromNames, GIVEN, config=config).distill.image_size == 64
    assert resolve(FromNames, GIVEN, config=config, overrides=["distill.image_size=null"]).distill.image_size is None


def test_nothing_but_the_published_recipe_selects_on_test_data() -> None:
    kinds: dict[str, Any] = {"from-images": FromImages, "from-names": FromNames}
    choosing = set()
    for pipeline, kind in kinds.items():
        values: dict[str, Any] = {"classes": "dog,cat", "out": "o"} | ({"images": "i"} if kind is FromImages else {})
        assert kind(**values).distill.select == "last"
        for name in PRESETS[pipeline]:
            if resolve(kind, values, base=preset(pipeline, name)).distill.select == "test":
                choosing.add((pipeline, name))
    assert choosing == {("from-images", "paper")}


def test_presets_are_valid_and_are_not_changed_by_use() -> None:
    before = yaml.safe_dump(PRESETS)
    for pipeline, kind in (("from-images", FromImages), ("from-names", FromNames)):
        for name in PRESETS[pipeline]:
            values = GIVEN | {"images": "x"} if kind is FromImages else GIVEN
            resolve(kind, values, base=preset(pipeline, name), overrides=["distill.epochs=1"])
    assert yaml.safe_dump(PRESETS) == before
    with pytest.raises(UsageError, match=r"'slow'.*fast"):
        preset("from-names", "slow")


def test_settings_are_frozen() -> None:
    chosen = names()
    with pytest.raises(ValidationError, match="frozen"):
        chosen.seed = 3  # pyright: ignore
    with pytest.raises(ValidationError, match="frozen"):
        chosen.distill.epochs = 3  # pyright: ignore


def test_all_mistakes_stand_in_one_message() -> None:
    wrong = ["distill.epoch=3", "distill.lr=-1", "synthesize.steps=few", "nope=1"]
    with pytest.raises(UsageError) as caught:
        resolve(FromNames, {"out": "run", "seed": -1, "generatr": "x"}, overrides=wrong)
    message = str(caught.value)
    for words in (
        "classes is missing",
        "seed = -1",
        "distill.epoch is unknown (did you mean distill.epochs?)",
        "distill.lr = -1",
        "synthesize.steps = 'few'",
        "generatr is unknown (did you mean generator?)",
        "nope is unknown",
    ):
        assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["distill.epochs", "=3", " =3"])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"stage\.key=value"):
        resolve(FromNames, GIVEN, overrides=[text])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b\n", "no mapping"),
        ("just text", "no mapping"),
        ("", "no mapping"),
        ("a: [1", "no YAML of plain data"),
        ("distill: !!python/object/apply:os.system ['true']", "no YAML of plain data"),
        ("seed: !!python/name:os.system ''", "no YAML of plain data"),
        ("distil: {epochs: 3}", "did you mean distill"),
        ("#" * 1_000_001, "over 1000000 bytes"),
    ],
)
def test_a_config_that_is_no_mapping_of_plain_data_is_refused(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(FromNames, GIVEN, config=written(tmp_path / "c.yaml", content))


def test_an_override_is_plain_data_too() -> None:
    with pytest.raises(UsageError, match="no YAML"):
        resolve(FromNames, GIVEN, overrides=["seed=!!python/object/apply:os.getpid []"])
    with pytest.raises(UsageError, match="no YAML"):
        resolve(FromNames, GIVEN, overrides=["distill.lr=[1"])


def test_settings_written_as_yaml_come_back_the_same(tmp_path: Path) -> None:
    chosen = resolve(FromNames, GIVEN | {"benchmark": "pictograms"}, base=preset("from-names", "best"))
    config = written(tmp_path / "c.yaml", chosen.model_dump(mode="json", exclude={"out"}))
    assert resolve(FromNames, {"out": "run"}, config=config) == chosen


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("dog,cat", ("dog", "cat")),
        (" dog , hot air balloon ", ("dog", "hot air balloon")),
        (["dog", "cat"], ("dog", "cat")),
        ("dog", ("dog",)),
        ("über,naïve,犬", ("über", "naïve", "犬")),
    ],
)
def test_class_names_are_read_from_text_or_a_sequence(value: object, wanted: tuple[str, ...]) -> None:
    assert read_names(value) == wanted


@pytest.mark.parametrize("start", ["", "\ufeff", "# animals\n"])
def test_class_names_are_read_from_a_file(tmp_path: Path, start: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(start + "dog\r\nhot air, balloon\n\n\n", encoding="utf-8")
    assert read_names(path) == ("dog", "hot air, balloon")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("dog,,cat", "class name 2 is empty"),
        ("", "class name 1 is empty"),
        ([], "empty"),
        ("dog,cat,dog", "'dog' stands twice"),
        ("hot_air,Hot Air", "'Hot Air' stands twice"),
        ("no such.txt", r"no such\.txt does not exist"),
    ],
)
def test_class_names_that_cannot_be_used_are_refused(value: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_names(value)


@pytest.mark.parametrize("template", ["a photo", "{} and {}", ""])
def test_a_template_needs_one_hole(template: str) -> None:
    with pytest.raises(UsageError, match=r"exactly one \{\}"):
        resolve(FromNames, GIVEN | {"vectors": {"templates": [template]}})


def test_there_is_at_least_one_template() -> None:
    with pytest.raises(UsageError, match=r"vectors\.templates"):
        resolve(FromNames, GIVEN, overrides=["vectors.templates=[]"])
