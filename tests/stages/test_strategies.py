"""Every strategy gives as many prompts of every class as asked, from each prompt's own draws."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from promptstill.data.styles import STRICT, STYLES
from promptstill.engine import Stopper, stream
from promptstill.errors import DataError, Interrupted, UsageError
from promptstill.models.clip import Clip
from promptstill.models.text import TextTower
from promptstill.ops.contrastive import Items, token_statistics
from promptstill.settings import Diversify
from promptstill.stages.diversify import STRATEGIES, Diversified, Plan, Pusher, plain_vectors, reworded
from small_runs import CLASSES, StopAfter

EACH = 5
QUICK = {"steps": 4, "batch_size": 6}


def made(clip: Clip, strategy: str, names: tuple[str, ...] = CLASSES, seed: int = 0, **settings: Any) -> Diversified:
    contrast = QUICK | settings.pop("contrast", {})
    chosen = {"strategy": strategy, "images_per_class": EACH, "contrast": contrast} | settings
    return STRATEGIES[strategy](clip, names, Diversify.model_validate(chosen), seed, Stopper())


def pusher(clip: Clip, images_per_class: int = EACH, **contrast: Any) -> Pusher:
    settings = Diversify.model_validate({"contrast": QUICK | contrast})
    wordings = reworded(settings.template, settings.contrast, stream(0, "wordings"))
    return Pusher(TextTower(clip), Plan(CLASSES, images_per_class), plain_vectors(clip, CLASSES), settings, wordings)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_prompts_of_every_class_in_every_round(clip: Clip, strategy: str) -> None:
    result = made(clip, strategy)
    prompts = result.prompts
    assert prompts.labels.tolist() == [0, 1, 2] * EACH
    assert prompts.embeddings.shape == (3 * EACH, clip.dim)
    assert prompts.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(prompts.embeddings, axis=1), 1, rtol=1e-5)
    different = len(CLASSES) if strategy == "baseline" else 3 * EACH
    assert len(np.unique(prompts.embeddings.round(5), axis=0)) == different
    assert len(prompts.texts) == len(result.prompts.details) == 3 * EACH
    start = "A hot air balloon" if strategy == "baseline" else "hot air balloon in the style of "
    assert all(text.startswith(start) for text in prompts.texts[2::3])
    assert set(result.figures) == {"retention", "within", "between"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_prompts(clip: Clip, strategy: str) -> None:
    first, again, other = (made(clip, strategy, seed=seed).prompts.embeddings for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other).max() > 1e-3) == (strategy != "baseline"), "only the plain prompt draws nothing"


@pytest.mark.parametrize("strategy", ["mix", "random"])
def test_a_prompt_is_the_same_whatever_else_is_asked_for(clip: Clip, strategy: str) -> None:
    few = made(clip, strategy).prompts.embeddings.reshape(EACH, 3, -1)
    more = made(clip, strategy, names=("cat", "dog"), images_per_class=EACH + 2).prompts.embeddings
    many = more.reshape(EACH + 2, 2, -1)
    np.testing.assert_allclose(few[:, 0], many[:EACH, 1], atol=1e-5)
    np.testing.assert_allclose(few[:, 1], many[:EACH, 0], atol=1e-5)


def test_a_mixture_lies_between_its_two_styles_and_says_so(clip: Clip) -> None:
    result = made(clip, "mix")
    for text, embedding, detail in zip(
        result.prompts.texts, result.prompts.embeddings, result.prompts.details, strict=True
    ):
        (first, second), (share, rest) = detail["styles"], detail["shares"]
        assert first != second
        assert {first, second} <= set(STYLES)
        assert text.endswith(f" in the style of {first} {share:.2f} + {second} {rest:.2f}")
        name = text.partition(" in the")[0]
        pure = clip.embed_texts([f"{name} in the style of {style}" for style in (first, second)])
        wanted = F.normalize(share * pure[0] + rest * pure[1], dim=-1)
        np.testing.assert_allclose(embedding, wanted, atol=1e-5)


def test_shares_are_uniform_and_styles_are_all_used(clip: Clip) -> None:
    details = made(clip, "mix", names=("dog",), images_per_class=600, styles="strict").prompts.details
    shares = np.array([detail["shares"][0] for detail in details])
    assert abs(shares.mean() - 1 / 2) < 0.05
    assert abs(shares.var() - 1 / 12) < 0.01
    assert {style for detail in details for style in detail["styles"]} == set(STRICT)


def test_mixing_needs_two_styles(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("origami\n")
    with pytest.raises(DataError, match="holds one style, but mixing needs two"):
        made(clip, "mix", styles=str(tmp_path / "one.txt"))


def test_pseudo_words_without_spread_are_the_mean_word(clip: Clip) -> None:
    result = made(clip, "random", spread=0.0)
    tower = TextTower(clip)
    mean = token_statistics(tower.table)[0]
    wanted = F.normalize(tower.encode(tower.tokens(["dog in the style of *"]), mean[None]), dim=-1)
    np.testing.assert_allclose(result.prompts.embeddings[::3], wanted.expand(EACH, -1), atol=1e-6)
    assert {detail["pseudo_word_length"] for detail in result.prompts.details} == {round(float(mean.norm()), 4)}


def test_pushing_starts_at_the_drawn_pseudo_words(clip: Clip) -> None:
    drawn = made(clip, "random").prompts.embeddings
    start = pusher(clip)
    features = torch.cat([start.embed(batch).features for batch in start.batches(seed=0)])
    np.testing.assert_allclose(features, drawn, atol=1e-5)


@pytest.mark.parametrize("schedule", ["batch", "joint"])
def test_pushing_sets_prompts_apart(clip: Clip, schedule: str) -> None:
    before = made(clip, "random", spread=1.0).figures
    contrast = {"steps": 12, "anchor": 0.0, "schedule": schedule}
    after = made(clip, "contrastive", spread=1.0, contrast=contrast).figures
    assert after["within"] > before["within"] + 0.1


def test_an_anchor_keeps_the_class(clip: Clip) -> None:
    free, held = (made(clip, "contrastive", contrast={"steps": 12, "anchor": anchor}).figures for anchor in (0.0, 10.0))
    assert held["retention"] == 1 > free["retention"]


VARIANTS = [
    {"in_batch": "detached"},
    {"in_batch": "none"},
    {"include_positive": True},
    {"within_class": True},
    {"stop_gradient": True},
    {"positive": "substitute"},
    {"bank": 0},
    {"tau": 0.5},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_counts(clip: Clip, variant: dict[str, Any]) -> None:
    plain, other = (made(clip, "contrastive", contrast=each).prompts.embeddings for each in ({}, variant))
    assert np.isfinite(other).all()
    assert np.abs(plain - other).max() > 1e-4


def test_one_prompt_alone_has_nothing_to_be_pushed_from(clip: Clip) -> None:
    contrast = {"anchor": 0.0}
    drawn, pushed = (
        made(clip, strategy, names=("dog",), images_per_class=1, contrast=contrast).prompts.embeddings
        for strategy in ("random", "contrastive")
    )
    np.testing.assert_allclose(pushed, drawn, atol=1e-6)


def test_positives_keep_class_and_pseudo_word(clip: Clip) -> None:
    batch = pusher(clip).batches(seed=0)[0]
    first, second = (pusher(clip).positives(batch) for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True)), "drawn again for each step"
    for text, label in zip(first, batch.labels.tolist(), strict=True):
        name = CLASSES[label].replace("_", " ")
        assert text.startswith(f"{name} ")
        assert text.endswith(" *")
        assert sorted(text) == sorted(f"{name} in the style of *")


def test_without_bank_and_batch_nothing_is_lost_on_a_longer_positive(clip: Clip) -> None:
    """The positive's wording has more tokens, so its pseudo-word stands elsewhere; both copies get the gradient."""
    pushed = pusher(clip, anchor=0.0)
    batch = pushed.batches(seed=0)[0]
    bank = Items(torch.randn(7, clip.dim), torch.zeros(7).long(), torch.arange(100, 107))
    pushed.loss(batch, bank).sum().backward()
    assert batch.words.grad is not None
    assert bool((batch.words.grad.abs().sum(1) > 0).all())
    assert pushed.tower.tokens(pushed.positives(batch)).shape[1] > batch.ids.shape[1]


def test_a_text_that_may_grow_too_long_is_refused_at_once(clip: Clip) -> None:
    long = "a very very long name of a class of things"
    assert made(clip, "random", names=(long,))
    with pytest.raises(DataError, match="is over 24 tokens"):
        made(clip, "contrastive", names=(long,))


def test_pushing_can_be_stopped(clip: Clip) -> None:
    settings = Diversify.model_validate({"images_per_class": EACH, "contrast": QUICK})
    with pytest.raises(Interrupted):
        STRATEGIES["contrastive"](clip, CLASSES, settings, 0, StopAfter(2))


@pytest.mark.parametrize("strategy", ["random", "contrastive"])
def test_a_tower_that_takes_no_pseudo_words_is_refused_with_a_remedy(strategy: str) -> None:
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 24, "width": 16, "heads": 2, "layers": 1, "no_causal_mask": True, "pool_type": "last"}
    model = open_clip.CustomTextCLIP(16, vision, text)  # pyright: ignore[reportArgumentType]
    open_clip.set_model_preprocess_cfg(model, {"size": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    clip = Clip("siglip-like", model, open_clip.SimpleTokenizer(context_length=24), {"embed_dim": 16})
    with pytest.raises(UsageError, match=r"'siglip-like'.*use the strategy mix"):
        made(clip, strategy)
