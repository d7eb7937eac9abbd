"""Another wording keeps the class's hole, the spaces and the signs; shuffling keeps the letters too."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from promptstill.data.wording import shuffled, spelled, substituted
from promptstill.engine import stream

TEMPLATE = "{} in the style of"
TEMPLATES = st.sampled_from([TEMPLATE, "a photo of a {}, in oil", "{}", "{} 80s-style", "ein {} im Stil von Ölfarben"])
SEEDS = st.integers(0, 10_000)


def frame(template: str) -> str:
    """What is no letter, in its place."""
    return "".join("x" if char.isalpha() else char for char in template)


@given(TEMPLATES, SEEDS)
def test_shuffling_keeps_letters_spaces_and_the_hole(template: str, seed: int) -> None:
    other = shuffled(template, stream(seed))
    assert Counter(other) == Counter(template)
    assert frame(other) == frame(template)


@given(TEMPLATES, SEEDS, st.integers(1, 30))
def test_substituting_changes_so_many_letters(template: str, seed: int, count: int) -> None:
    other = substituted(template, count, stream(seed))
    assert frame(other) == frame(template)
    changed = [pair for pair in zip(template, other, strict=True) if pair[0] != pair[1]]
    assert len(changed) == min(count, sum(char.isalpha() for char in template))
    assert all(old.lower() != new for old, new in changed)


def test_wordings_are_the_streams_and_differ() -> None:
    drawn = stream(0, "words")
    five = [shuffled(TEMPLATE, drawn) for _ in range(5)]
    assert len(set(five)) == 5
    assert shuffled(TEMPLATE, stream(0, "words")) == five[0]


def test_spelling_sets_every_letter_apart() -> None:
    assert spelled(TEMPLATE).split() == ["{}", *"inthestyleof"]
