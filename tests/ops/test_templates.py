"""Class names go into texts with one hole."""

import pytest

from promptstill.errors import UsageError
from promptstill.ops.templates import fill, fill_all


def test_a_name_is_put_into_the_hole_and_underscores_become_spaces() -> None:
    assert fill("a photo of a {}.", "hot_air_balloon") == "a photo of a hot air balloon."
    assert fill("A {}", "{x} \\1 %s") == "A {x} \\1 %s"


def test_texts_stand_name_after_name() -> None:
    assert fill_all(["a {}", "the {}"], ["dog", "cat"]) == ["a dog", "the dog", "a cat", "the cat"]


@pytest.mark.parametrize("template", ["no hole", "{} {}", ""])
def test_a_template_without_exactly_one_hole_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match=r"exactly one \{\}"):
        fill(template, "dog")
