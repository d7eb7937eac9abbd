"""Every class gets its prompts, in rounds, so that each shard has all classes."""

import numpy as np
import torch

from promptstill.engine import Stopper
from promptstill.models.clip import Clip
from promptstill.settings import Diversify
from promptstill.stages.diversify import diversify

NAMES = ("dog", "cat", "hot_air_balloon")


def test_the_baseline_asks_for_every_class_equally_often_in_rounds(clip: Clip) -> None:
    prompts = diversify(clip, NAMES, Diversify(images_per_class=4), 0, Stopper()).prompts
    assert prompts.labels.tolist() == [0, 1, 2] * 4
    assert prompts.texts[:3] == ("A dog", "A cat", "A hot air balloon")
    torch.testing.assert_close(torch.from_numpy(prompts.embeddings[:3]), clip.embed_texts(prompts.texts[:3]))
    assert np.array_equal(prompts.embeddings[:3], prompts.embeddings[9:])


def test_more_images_begin_with_the_same_prompts(clip: Clip) -> None:
    few, many = (diversify(clip, NAMES, Diversify(images_per_class=n), 0, Stopper()).prompts for n in (2, 5))
    assert many.texts[: len(few.texts)] == few.texts
