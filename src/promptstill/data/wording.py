"""Other wordings of a template for contrastive prompts: its letters change, its hole and its spaces do not."""

from string import ascii_lowercase

import torch
from torch import Generator


def shuffled(template: str, stream: Generator) -> str:
    """The same letters in another order; spaces, signs and the hole stay where they are (DFKD-VLFM sec. 3.3)."""
    places = _letters(template)
    order = torch.randperm(len(places), generator=stream).tolist()
    return _put(template, {place: template[places[other]] for place, other in zip(places, order, strict=True)})


def substituted(template: str, count: int, stream: Generator) -> str:
    """``count`` of the letters replaced by others of a to z, all of them if there are not so many."""
    places = _letters(template)
    chosen = torch.randperm(len(places), generator=stream)[:count].tolist()
    drawn = torch.randint(len(ascii_lowercase) - 1, (len(chosen),), generator=stream).tolist()
    return _put(
        template, {places[at]: _other(template[places[at]], new) for at, new in zip(chosen, drawn, strict=True)}
    )


def spelled(template: str) -> str:
    """Every letter apart: as many tokens as a shuffled template can have at most."""
    letters = set(_letters(template))
    return "".join(f" {char} " if place in letters else char for place, char in enumerate(template))


def _letters(template: str) -> list[int]:
    return [place for place, char in enumerate(template) if char.isalpha()]


def _put(template: str, new: dict[int, str]) -> str:
    return "".join(new.get(place, char) for place, char in enumerate(template))


def _other(letter: str, number: int) -> str:
    others = [char for char in ascii_lowercase if char != letter.lower()]
    return others[number % len(others)]
