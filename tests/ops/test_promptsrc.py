"""PromptSRC's terms, weights and schedule: the public code's numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from golden_models import error, golden, reference_clip
from golden_prompts import CLASSES, TEACHER, reference_prompts
from promptstill.data.templates import PLAIN, context_template, imagenet_templates
from promptstill.models.prompts import PromptedClip
from promptstill.models.towers import encode_texts
from promptstill.ops.promptsrc import (
    accumulate,
    gaussian_weights,
    promptsrc_terms,
    promptsrc_weights,
    template_mean,
    weighted_sum,
)
from promptstill.ops.schedules import epoch_rate
from promptstill.ops.templates import fill

GOLDEN = golden(TEACHER)
BATCH, LABELS = GOLDEN["in.images"], GOLDEN["in.labels"]


@pytest.fixture
def teacher() -> PromptedClip:
    return PromptedClip(reference_clip("teacher"), reference_prompts("prompt."))


def terms_of(teacher: PromptedClip) -> dict[str, Tensor]:
    images = F.normalize(teacher.visual(BATCH), dim=-1)
    texts = F.normalize(teacher.encode_ids(GOLDEN["in.compact_ids"]), dim=-1)
    plain_images, plain_texts = GOLDEN["out.zs_image_features"], GOLDEN["out.zs_text_features"]
    return promptsrc_terms(images, texts, plain_images, plain_texts, LABELS, teacher.scale)


def test_the_four_terms_are_the_references(teacher: PromptedClip) -> None:
    terms, weights = terms_of(teacher), promptsrc_weights(len(CLASSES))
    wanted = {"ce": "ce", "text": "text_l1_x25", "image": "image_l1_x10", "logits": "logits_kl"}
    for name, theirs in wanted.items():
        assert error(weights[name] * terms[name], GOLDEN[f"out.loss_{theirs}"]) < 1e-5, name
    assert error(weighted_sum(terms, weights), GOLDEN["out.loss_total"]) < 1e-5


def test_the_gradients_of_every_prompt_are_the_references(teacher: PromptedClip) -> None:
    weighted_sum(terms_of(teacher), promptsrc_weights(len(CLASSES))).backward()
    for which, wanted in reference_prompts("grad.").items():
        grad = teacher.prompts[which].grad
        assert grad is not None
        for ours, theirs in zip(grad, wanted, strict=True):
            assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5


def test_the_schedule_and_the_averages_weights_are_the_references() -> None:
    rates = torch.tensor([epoch_rate(epoch, 20, 0.005) for epoch in range(20)], dtype=torch.float64)
    assert float((rates - GOLDEN["sched.lr_20"]).abs().max()) < 1e-12
    assert float((gaussian_weights(20) - GOLDEN["sched.gpa_20"]).abs().max()) < 1e-12


def test_the_sixty_templates_are_the_references_in_its_order() -> None:
    vocabulary = golden("weights_clip_teacher.safetensors")["vocab_ids"]
    tokenizer = reference_clip("teacher").tokenizer
    for template, wanted in zip(imagenet_templates(60), GOLDEN["in.template_raw_ids"], strict=True):
        ids = vocabulary[tokenizer([fill(template, name) for name in CLASSES])]
        assert torch.equal(ids[:, : wanted.shape[1]], wanted), template


def test_the_frozen_class_vectors_are_the_references() -> None:
    clip = reference_clip("teacher")
    texts = [fill(template, name) for template in imagenet_templates(60) for name in CLASSES]
    with torch.no_grad():
        features = encode_texts(clip.model, clip.tokenizer(texts)).view(60, len(CLASSES), -1)
    assert error(features.mean(0), GOLDEN["out.fixed_text_mean"]) < 1e-5
    assert error(template_mean(features), GOLDEN["out.zs_text_features"]) < 1e-5


def test_templates() -> None:
    assert len(imagenet_templates()) == len(set(imagenet_templates())) == 80
    assert imagenet_templates(1) == (PLAIN,)
    assert all(template.count("{}") == 1 for template in imagenet_templates())
    assert [context_template(n) for n in (0, 4, 6)] == [PLAIN, PLAIN, "X X X X X X {}."]


@given(st.integers(1, 60), st.floats(-50, 50), st.floats(0.05, 30))
def test_gaussian_weights_sum_to_one_wherever_the_mean_lies(epochs: int, mean: float, std: float) -> None:
    weights = gaussian_weights(epochs, mean, std)
    assert weights.dtype == torch.float64
    assert math.isclose(float(weights.sum()), 1, rel_tol=1e-12)


def test_the_average_of_a_constant_is_the_constant() -> None:
    constant, total = {"a": torch.randn(3, 2, generator=torch.Generator().manual_seed(0))}, {}
    for share in gaussian_weights(20).tolist():
        total = accumulate(total, constant, share)
    assert torch.equal(total["a"].float(), constant["a"])


def test_all_terms_but_the_cross_entropy_vanish_without_prompts() -> None:
    f, g = (F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)), dim=-1) for seed in (0, 1))
    terms = promptsrc_terms(f, g, f, g, torch.arange(4), 10.0)
    assert [float(terms[name]) for name in ("text", "image", "logits")] == [0, 0, 0]
    assert float(terms["ce"]) > 0
