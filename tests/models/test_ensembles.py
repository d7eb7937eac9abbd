"""Several teachers as one: inner products of joined vectors are the mean of the members' logits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from promptstill.artifacts import ClassVectors
from promptstill.engine import stream
from promptstill.errors import UsageError
from promptstill.models.clip import Clip, load_clip
from promptstill.models.ensembles import Ensemble
from promptstill.models.prompts import PromptedClip, fresh_tokens
from promptstill.models.teachers import load_teacher
from promptstill.models.vectors import as_judged, embed_classes, make_vectors
from promptstill.ops.cost import cost
from promptstill.ops.losses import cosine_logits
from tiny import make_clip

NAMES, TEMPLATES = ("dog", "cat", "hot_air balloon"), ("a photo of a {}.", "A {}", "the {} in the rain")


@pytest.fixture(scope="module")
def members(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Clip]:
    """Two models of different scale, one of them with learned prompts in its text tower."""
    other = load_clip(f"dir:{make_clip(tmp_path_factory.mktemp('other'), seed=1)}")
    with torch.no_grad():
        other.model.get_parameter("logit_scale").fill_(1.5)
    return clip, PromptedClip(other, {"text": fresh_tokens(2, 4, 16, stream(0, "test"))})


@pytest.fixture(scope="module")
def ensemble(members: tuple[Clip, Clip]) -> Ensemble:
    return Ensemble(members)


def images() -> torch.Tensor:
    return torch.rand(5, 3, 32, 32, generator=stream(0, "images"))


def test_its_logits_are_the_mean_of_the_members_logits(members: tuple[Clip, Clip], ensemble: Ensemble) -> None:
    wanted = sum(
        cosine_logits(m.embed_images(images()), embed_classes(m, NAMES, TEMPLATES), m.scale) for m in members
    ) / len(members)
    made = make_vectors(ensemble, NAMES, TEMPLATES)
    found = cosine_logits(ensemble.embed_images(images()), torch.from_numpy(made.vectors), made.scale)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_confidence_weighs_the_members_logits_by_their_largest_probability(
    members: tuple[Clip, Clip], ensemble: Ensemble
) -> None:
    each = [cosine_logits(m.embed_images(images()), embed_classes(m, NAMES, TEMPLATES), m.scale) for m in members]
    sure = torch.stack([logits.softmax(-1).amax(-1) for logits in each])
    wanted = sum(w[:, None] * logits for w, logits in zip(sure / sure.sum(0), each, strict=True))
    made = make_vectors(ensemble, NAMES, TEMPLATES, confidence=True)
    features = as_judged(ensemble.embed_images(images()), made)
    found = cosine_logits(features, torch.from_numpy(made.vectors), made.scale)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, torch.stack(each).mean(0))


def test_members_that_are_equally_sure_count_equally(clip: Clip) -> None:
    twice = Ensemble([clip, clip])
    features = twice.embed_images(images())
    made = make_vectors(twice, NAMES, TEMPLATES, confidence=True)
    torch.testing.assert_close(as_judged(features, made), features)
    assert as_judged(features, make_vectors(twice, NAMES, TEMPLATES)) is features


def test_confidence_weights_are_kept_with_the_class_vectors(ensemble: Ensemble, tmp_path: Path) -> None:
    made = make_vectors(ensemble, NAMES, TEMPLATES, confidence=True)
    made.save(tmp_path)
    assert ClassVectors.load(tmp_path).members == made.select(NAMES[1:]).members == (16, 16)


def test_confidence_weights_of_one_teacher_are_refused(clip: Clip) -> None:
    with pytest.raises(UsageError, match=r"needs several teachers.*give A\+B"):
        make_vectors(clip, NAMES, TEMPLATES, confidence=True)


def test_its_embeddings_have_unit_length_so_a_store_keeps_them(ensemble: Ensemble) -> None:
    features = ensemble.embed_images(images())
    assert features.shape == (5, ensemble.dim) == (5, 32)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(5))
    made = torch.from_numpy(make_vectors(ensemble, NAMES, TEMPLATES).vectors)
    torch.testing.assert_close(made.norm(dim=-1), torch.ones(3))
    half = torch.nn.functional.normalize(features.half().float(), dim=-1)  # as the store keeps and gives them
    found, wanted = (cosine_logits(f, made, ensemble.scale) for f in (half, features))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)


def test_its_hash_is_that_of_its_members_in_order(members: tuple[Clip, Clip], ensemble: Ensemble) -> None:
    assert ensemble.hash == Ensemble(members).hash
    assert ensemble.hash != Ensemble(members[::-1]).hash
    assert ensemble.hash not in {member.hash for member in members}


def test_its_cost_is_the_sum_of_its_members(members: tuple[Clip, Clip], ensemble: Ensemble) -> None:
    each, whole = [cost(member.visual, 32, runs=1)["macs"] for member in members], cost(ensemble.visual, 32, runs=1)
    assert whole["macs"] == sum(each)


def test_it_is_named_by_a_plus(clip_dir: Path, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "a+b", seed=1)  # a plus in a path joins nothing
    ensemble = load_teacher(f"dir:{clip_dir}+dir:{other}")
    assert isinstance(ensemble, Ensemble)
    assert [member.uri for member in ensemble.members] == [f"dir:{clip_dir}", f"dir:{other}"]
    assert not isinstance(load_teacher(f"dir:{other}"), Ensemble)


def test_members_see_images_at_their_own_size() -> None:
    ensemble = load_teacher("nano+nano-student")
    assert isinstance(ensemble, Ensemble)
    assert ensemble.preprocess.size == 96
    seen = torch.rand(2, 3, 96, 96, generator=stream(0, "large"))
    features = ensemble.embed_images(seen)
    alone = ensemble.members[0].embed_images(seen)
    share = float(np.sqrt(ensemble.members[0].scale / (2 * ensemble.scale)))
    torch.testing.assert_close(features[:, : ensemble.members[0].dim], share * alone)
