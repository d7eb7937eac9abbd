"""Sets of templates by name."""

import pytest

from promptstill.config import resolve
from promptstill.data.templates import DATASET_TEMPLATES, context_template, expand, imagenet_templates
from promptstill.errors import UsageError
from promptstill.settings import TEMPLATE_SETS, Vectors


def test_every_set_that_the_settings_know_is_there() -> None:
    assert {"imagenet-60", "imagenet-80", *DATASET_TEMPLATES} == set(TEMPLATE_SETS)
    for name in TEMPLATE_SETS:
        assert all(text.count("{}") == 1 for text in expand((name,)))


def test_sets_and_texts_stand_together_each_text_once() -> None:
    assert expand(("imagenet-60",)) == imagenet_templates(60)
    assert expand(("a {}", "EuroSAT", "a {}")) == ("a {}", "a centered satellite photo of {}.")
    assert len(expand(("imagenet-60", "imagenet-80"))) == 80


def test_an_unknown_set_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'imagenet-8' \(did you mean imagenet-80\?\) needs exactly one \{\}"):
        resolve(Vectors, {}, overrides=["templates=[imagenet-8]"])


def test_learned_tokens_find_words_to_replace() -> None:
    assert context_template(3, "a sketch of") == "a sketch of {}."
    assert context_template(4, "a sketch of") == "X X X X {}."
