"""Names -> prompts: what steers each surrogate image. Strategies stand in one table."""

from collections.abc import Callable

import numpy as np

from promptstill.artifacts import Prompts
from promptstill.data.templates import fill
from promptstill.models.clip import Clip
from promptstill.settings import Diversify


def baseline(teacher: Clip, names: tuple[str, ...], settings: Diversify) -> Prompts:
    """The same plain prompt ``A [CLS]`` for every image of a class (DFKD-VLFM sec. 4.1)."""
    texts = [fill("A {}", name) for name in names]
    embeddings = teacher.embed_texts(texts).cpu().numpy()
    # class after class within each round, so that every shard, and a run that is cut short, has all classes
    labels = np.tile(np.arange(len(names)), settings.images_per_class)
    return Prompts(labels, tuple(texts[label] for label in labels), embeddings[labels])


STRATEGIES: dict[str, Callable[[Clip, tuple[str, ...], Diversify], Prompts]] = {"baseline": baseline}


def diversify(teacher: Clip, names: tuple[str, ...], settings: Diversify) -> Prompts:
    """Prompts for every class, ``images_per_class`` of each."""
    return STRATEGIES[settings.strategy](teacher, names, settings)
