"""Pseudo-words and truncation against the reference numbers (tests/golden), and what they may not change."""

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from golden_models import error, golden, reference_clip
from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.text import PLACEHOLDER, TextTower

TOLERANCE = 1e-5
WORDS = ("dog", "elephant", "guitar")
STYLED = [f"{word} in the style of {PLACEHOLDER}" for word in WORDS]


@pytest.fixture(scope="module")
def tower() -> TextTower:
    return TextTower(reference_clip("student"))


@pytest.fixture(scope="module")
def tiny(clip: Clip) -> TextTower:
    return TextTower(clip)


def numbers(name: str) -> Tensor:
    return golden("text_bank.safetensors")[name]


def test_plain_texts_are_the_references(tower: TextTower) -> None:
    ids = tower.tokens([f"A {word}" for word in WORDS])
    assert torch.equal(ids, numbers("bank.compact_ids")[:, : ids.shape[1]])
    raw = tower.encode(ids)
    assert error(raw, numbers("bank.features_raw")) < TOLERANCE
    assert error(F.normalize(raw, dim=-1), numbers("bank.features")) < TOLERANCE
    assert error(raw, numbers("bank.features_raw_standard_gelu")) > 10 * TOLERANCE


def test_the_clip_itself_gives_the_references(tower: TextTower) -> None:
    clip = tower.clip
    vectors = clip.embed_texts([f"A {word}" for word in WORDS])
    assert error(vectors, numbers("bank.features")) < TOLERANCE
    images = numbers("image.input")
    raw = clip.visual(images)  # already normalised
    assert error(raw, numbers("image.features_raw")) < TOLERANCE
    logits = clip.scale * F.normalize(raw, dim=-1) @ vectors.T
    assert error(logits, numbers("zeroshot.logits")) < TOLERANCE


def test_pseudo_words_and_their_gradient_are_the_references(tower: TextTower) -> None:
    ids = tower.tokens(STYLED)
    assert torch.equal(tower.ends(ids), numbers("inject.eot"))
    assert torch.equal(tower.ends(ids) - 1, numbers("inject.row"))
    words = numbers("inject.V_star").clone().requires_grad_()
    raw = tower.encode(ids, words)
    (raw * numbers("inject.probe")).sum().backward()
    assert error(raw, numbers("inject.features_raw")) < TOLERANCE
    assert error(F.normalize(raw, dim=-1), numbers("inject.features")) < TOLERANCE
    assert words.grad is not None
    assert error(words.grad, numbers("inject.grad_V_star")) < TOLERANCE


def test_a_real_words_own_embedding_reproduces_its_sentence(tower: TextTower) -> None:
    real = numbers("real.compact_ids")
    row = tower.ends(real) - 1
    words = tower.table[real[torch.arange(3), row]]
    injected = tower.encode(tower.tokens(STYLED), words)
    assert torch.equal(injected, tower.encode(real))
    assert error(injected, numbers("real.features_raw")) < TOLERANCE


def test_cutting_after_the_end_changes_nothing(tower: TextTower) -> None:
    ids, words = numbers("inject.compact_ids"), numbers("inject.V_star")
    parts: Any = tower.clip.model
    full = parts.encode_text(numbers("real.compact_ids"))
    assert error(tower.encode(numbers("real.compact_ids")), full) < 1e-6
    padded = F.pad(ids[:, : int(tower.ends(ids).max()) + 1], (0, 5))
    assert torch.equal(tower.encode(ids, words), tower.encode(padded, words))


NAMES = ("cat", "hot air balloon", "a rather long name for a class")


@given(st.permutations(range(len(NAMES))), st.integers(0, 2**31))
def test_ragged_texts_in_one_batch_are_as_if_alone(tiny: TextTower, order: list[int], seed: int) -> None:
    texts = [f"{NAMES[i]} in the style of {PLACEHOLDER}" for i in order]
    words = torch.randn(len(texts), tiny.table.shape[1], generator=torch.Generator().manual_seed(seed))
    together = tiny.encode(tiny.tokens(texts), words)
    for i, text in enumerate(texts):
        torch.testing.assert_close(together[i : i + 1], tiny.encode(tiny.tokens([text]), words[i : i + 1]))


def test_plain_texts_are_those_of_the_clip(tiny: TextTower) -> None:
    raw = tiny.encode(tiny.tokens(list(NAMES)))
    torch.testing.assert_close(F.normalize(raw, dim=-1), tiny.clip.embed_texts(NAMES))


def test_the_tower_stays_as_it_was(tiny: TextTower) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.clip.model.state_dict().items()}
    words = torch.randn(1, tiny.table.shape[1], requires_grad=True)
    tiny.encode(tiny.tokens(STYLED[:1]), words).sum().backward()
    assert words.grad is not None
    assert bool(words.grad.abs().sum() > 0)
    assert all(parameter.grad is None for parameter in tiny.clip.model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.clip.model.state_dict().items())


def test_a_text_that_just_fits_is_read_and_a_longer_one_refused(tiny: TextTower) -> None:
    limit = len(tiny.positions)
    fits = " ".join(["dog"] * (limit - 2))
    assert tiny.tokens([fits]).shape[1] == limit
    with pytest.raises(DataError, match=f"is over {limit} tokens"):
        tiny.tokens(["cat", fits + " dog"])


def custom(**text: Any) -> Clip:
    """A clip whose text tower is a module of its own, as the newer open_clip models have it."""
    size = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = open_clip.CustomTextCLIP(16, vision, size | text)  # pyright: ignore[reportArgumentType]
    open_clip.set_model_preprocess_cfg(model, {"size": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    return Clip("custom", model, open_clip.SimpleTokenizer(context_length=24), {"embed_dim": 16})


@pytest.mark.parametrize("pooling", [{}, {"pool_type": "eos", "eos_id": 49407}, {"proj_bias": True}])
def test_towers_of_their_own_are_opened_too(pooling: dict[str, Any]) -> None:
    tower = TextTower(custom(**pooling))
    raw = tower.encode(tower.tokens(list(NAMES)))
    torch.testing.assert_close(F.normalize(raw, dim=-1), tower.clip.embed_texts(NAMES))


class ForeignTower(nn.Module):
    """A text tower without open_clip's parts, as a wrapped model of another library is."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Linear(1, 1)
        self.pool_type = "argmax"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ({"no_causal_mask": True, "pool_type": "last"}, "is not causal"),
        ({"embed_cls": True}, "reads out a class token"),
        ({"pool_type": "last"}, "reads out at 'last'"),
    ],
)
def test_towers_that_cannot_take_pseudo_words_are_refused(text: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot be put into 'custom': .*{reason}.*use the strategy mix"):
        TextTower(custom(**text))


def test_another_librarys_tower_is_refused() -> None:
    clip = custom()
    clip.model.text = ForeignTower()
    with pytest.raises(UsageError, match="does not show its token embeddings"):
        TextTower(clip)
