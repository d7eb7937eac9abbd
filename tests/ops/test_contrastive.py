"""Mix, Random and Contrastive against the golden numbers (eq. 6-12), and the rules a memory bank keeps."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from golden_models import error, golden
from promptstill.engine import stream
from promptstill.ops.contrastive import (
    Items,
    contrastive_loss,
    distances,
    mix,
    mix_unit,
    pseudo_words,
    retention,
    token_statistics,
)

TOLERANCE = 1e-5


def numbers(name: str) -> Tensor:
    return golden("contrastive.safetensors")[name]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def as_items(features: Tensor, labels: list[int] | None = None, start: int = 0) -> Items:
    count = len(features)
    return Items(features, torch.tensor(labels or [0] * count), torch.arange(start, start + count))


@pytest.mark.parametrize("form", ["literal", "with_positive"])
@pytest.mark.parametrize("negatives", ["bank", "inbatch_detached", "inbatch_attached"])
def test_the_loss_and_its_gradients_are_the_references(negatives: str, form: str) -> None:
    anchors, positives = (numbers(name).clone().requires_grad_() for name in ("in.T", "in.Tpos"))
    batch = as_items(anchors)
    others = as_items(numbers("in.bank"), start=100)
    if negatives != "bank":
        others = others.join(batch if negatives == "inbatch_attached" else batch.detach())
    loss = contrastive_loss(
        anchors,
        positives,
        others.features,
        float(numbers("in.tau")),
        allowed=batch.allowed(others),
        include_positive=form == "with_positive",
    )
    loss.mean().backward()
    wanted = f"nce.{negatives}.{form}"
    assert error(loss, numbers(f"{wanted}.per_item")) < TOLERANCE
    assert error(loss.mean(), numbers(f"{wanted}.mean")) < TOLERANCE
    assert anchors.grad is not None
    assert positives.grad is not None
    assert error(anchors.grad, numbers(f"{wanted}.grad_T")) < TOLERANCE
    assert error(positives.grad, numbers(f"{wanted}.grad_Tpos")) < TOLERANCE


def test_without_a_mask_every_negative_counts() -> None:
    loss = contrastive_loss(numbers("in.T"), numbers("in.Tpos"), numbers("in.bank"), float(numbers("in.tau")))
    assert error(loss, numbers("nce.bank.literal.per_item")) < TOLERANCE


def test_the_papers_form_is_infonce_without_the_positive_in_the_sum() -> None:
    anchors, positives, others = draw(5, 8), draw(5, 8, seed=1), draw(9, 8, seed=2)
    near = F.cosine_similarity(anchors, positives) / 0.2
    infonce = contrastive_loss(anchors, positives, others, 0.2, include_positive=True)
    literal = contrastive_loss(anchors, positives, others, 0.2)
    torch.testing.assert_close(infonce, (literal.exp() + 1).log())
    wanted = F.cross_entropy(
        torch.cat([near[:, None], F.normalize(anchors, dim=-1) @ F.normalize(others, dim=-1).T / 0.2], 1),
        torch.zeros(5, dtype=torch.long),
        reduction="none",
    )
    torch.testing.assert_close(infonce, wanted)


@pytest.mark.parametrize("include_positive", [False, True])
def test_an_item_without_negatives_neither_counts_nor_breaks(include_positive: bool) -> None:
    anchors = draw(3, 4).requires_grad_()
    batch = as_items(anchors, labels=[0, 0, 1])
    allowed = batch.allowed(batch, within_class=True)
    loss = contrastive_loss(anchors, anchors, anchors, 0.1, allowed=allowed, include_positive=include_positive)
    loss.sum().backward()
    assert bool((loss[:2] != 0).all())
    assert float(loss[2].detach()) == 0
    assert anchors.grad is not None
    assert bool(anchors.grad.isfinite().all())
    assert not bool(anchors.grad[2].any())


def test_an_item_is_never_its_own_negative_not_even_from_the_bank() -> None:
    batch = as_items(draw(4, 3), labels=[0, 1, 0, 1], start=10)
    bank = as_items(draw(6, 3), labels=[0, 1, 0, 1, 0, 1], start=8)
    allowed = batch.allowed(bank.join(batch))
    assert allowed.shape == (4, 10)
    for row, number in enumerate(range(10, 14)):
        assert [at for at in range(10) if not allowed[row, at]] == [number - 8, 6 + row]
    same = batch.allowed(bank, within_class=True)
    assert torch.equal(same[0], torch.tensor([True, False, False, False, True, False]))


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 20))
def test_the_bank_is_first_in_first_out_whatever_the_batches(sizes: list[int], most: int) -> None:
    bank, seen = Items.none(2), 0
    for size in sizes:
        bank = bank.join(as_items(draw(size, 2), start=seen), most)
        seen += size
        assert bank.numbers.tolist() == list(range(max(0, seen - most), seen))


def test_a_sample_holds_different_items_and_is_the_streams() -> None:
    bank = as_items(draw(20, 2))
    drawn = bank.sample(8, stream(0, "bank"))
    assert len(set(drawn.numbers.tolist())) == 8
    assert torch.equal(drawn.features, bank.features[drawn.numbers])
    assert torch.equal(drawn.numbers, bank.sample(8, stream(0, "bank")).numbers)
    assert len(bank.sample(99, stream(0, "bank"))) == 20


def test_mixing_is_the_reference() -> None:
    first, second, share = (numbers(f"mix.{name}") for name in ("T1", "T2", "lambda"))
    assert error(mix(first, second, share), numbers("mix.raw")) < TOLERANCE
    unit = mix(F.normalize(first, dim=-1), F.normalize(second, dim=-1), share)
    assert error(unit, numbers("mix.normalise_first")) < TOLERANCE
    assert error(mix_unit(first, second, share), numbers("mix.normalise_first_then_renormalise")) < TOLERANCE


def test_a_share_of_one_or_nothing_is_a_pure_style_and_lengths_do_not_matter() -> None:
    first, second = F.normalize(draw(3, 5), dim=-1), F.normalize(draw(3, 5, seed=1), dim=-1)
    torch.testing.assert_close(mix_unit(first, second, torch.ones(3)), first)
    torch.testing.assert_close(mix_unit(first, second, torch.zeros(3)), second)
    half = torch.full((3,), 0.3)
    torch.testing.assert_close(mix_unit(7 * first, second, half), mix_unit(first, second, half))


def test_drawn_pseudo_words_are_the_references() -> None:
    mean, deviation = token_statistics(numbers("rp.codebook"))
    assert error(mean, numbers("rp.mu")) < TOLERANCE
    assert error(deviation, numbers("rp.sigma")) < TOLERANCE
    drawn = pseudo_words(mean, deviation, numbers("rp.eps"), float(numbers("rp.e")))
    assert error(drawn, numbers("rp.V_star")) < TOLERANCE


def test_pseudo_words_spread_as_told() -> None:
    mean, deviation = token_statistics(draw(200, 6))
    assert torch.equal(pseudo_words(mean, deviation, draw(4, 6), 0.0), mean.expand(4, 6))
    many = pseudo_words(mean, deviation, draw(20_000, 6), 10.0)
    torch.testing.assert_close(many.std(0), 10 * deviation, rtol=0.05, atol=0)


@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 4))
def test_distances_are_those_of_all_pairs(seed: int, count: int, classes: int) -> None:
    features = F.normalize(draw(count, 5, seed=seed), dim=-1)
    labels = torch.arange(count) % classes
    apart = 1 - features.double() @ features.double().T
    same, other = labels[:, None] == labels, ~torch.eye(count, dtype=torch.bool)
    for name, pairs in (("within", same & other), ("between", ~same)):
        wanted = float(apart[pairs].mean()) if bool(pairs.any()) else 0.0
        assert abs(distances(features, labels)[name] - wanted) < 1e-6


def test_retention_is_the_share_nearest_to_its_own_class() -> None:
    vectors = torch.eye(3)
    features = F.normalize(torch.tensor([[1.0, 0.2, 0.0], [1.0, 0.2, 0.0], [0.0, 0.1, 2.0], [0.0, 3.0, 0.1]]), dim=-1)
    assert retention(features, torch.tensor([0, 1, 2, 1]), vectors) == 0.75
