"""Learning prompts: the public code's numbers through our own loop, the frozen side, what can and cannot learn."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from golden_models import error, golden, reference_clip
from golden_prompts import CLASSES, TEACHER, reference_prompts
from promptstill.data.benchmarks import load_benchmark
from promptstill.data.sets.base import Labelled
from promptstill.data.templates import context_template
from promptstill.engine import Stopper, make_fabric
from promptstill.errors import UsageError
from promptstill.models.clip import Clip, load_clip
from promptstill.models.prompts import PromptedClip
from promptstill.ops.preprocess import normalize
from promptstill.ops.templates import fill_all
from promptstill.settings import Tune
from promptstill.stages.tune import Batch, Practice, fresh_teacher, frozen_vectors, loss_weights, prepare, tune
from tiny import CONVOLUTIONAL, make_clip


def silent(*_: Any, **__: Any) -> None: ...


def test_the_whole_loop_is_the_references(tmp_path: Path) -> None:
    """20 epochs of one batch: schedule, SGD with weight decay, the average at the end, texts in chunks."""
    wanted, clip = golden(TEACHER), reference_clip("teacher")
    teacher = PromptedClip(clip, reference_prompts("prompt."))
    pre = clip.preprocess
    images = wanted["in.images"] * torch.tensor(pre.std).view(1, -1, 1, 1) + torch.tensor(pre.mean).view(1, -1, 1, 1)
    torch.testing.assert_close(normalize(images, pre), wanted["in.images"], rtol=0, atol=1e-6)
    batch = Batch(images, wanted["out.zs_image_features"], wanted["in.labels"])
    texts = tuple(fill_all([context_template(4)], CLASSES))
    practice = Practice(lambda _: [batch], texts, wanted["out.zs_text_features"])
    losses: list[float] = []

    def metric(_: str, **row: float) -> None:
        losses.append(row["loss"])
        if len(losses) in (1, 2, 20):
            for which, tokens in reference_prompts(f"after_epoch{len(losses)}.").items():
                assert error(teacher.prompts[which], tokens) < 1e-5, (len(losses), which)

    tune(teacher, practice, Tune(chunk=2), make_fabric("cpu"), tmp_path, Stopper(), metric)
    assert error(torch.tensor(losses, dtype=torch.float64), wanted["out.losses_20"]) < 1e-5
    for which, tokens in reference_prompts("gpa.").items():
        assert error(teacher.prompts[which], tokens) < 1e-5, which


def test_the_frozen_class_vectors_are_the_references() -> None:
    found = frozen_vectors(reference_clip("teacher"), CLASSES, ("imagenet-60",))
    assert error(found, golden(TEACHER)["out.zs_text_features"]) < 1e-5


def test_the_published_weights_are_the_default() -> None:
    assert loss_weights(Tune(), 50) == {"ce": 1, "text": 25, "image": 10, "logits": 1 / 50}
    assert loss_weights(Tune(logits=2), 50)["logits"] == 2


# ------------------------------------------------------------------------------------------------- which towers learn


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return load_clip(f"dir:{make_clip(tmp_path_factory.mktemp('models') / 'conv', vision=CONVOLUTIONAL)}")


def shapes(teacher: PromptedClip) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tokens.shape) for name, tokens in teacher.prompts.items()}


def test_both_towers_of_transformers_get_prompts_as_deep_as_they_are(clip: Clip) -> None:
    teacher, notes = fresh_teacher(clip, Tune(), 0)
    assert shapes(teacher) == {"visual": (2, 4, 32), "text": (2, 4, 16)}
    assert notes == ()
    shallow, _ = fresh_teacher(clip, Tune(depth=1, length=2, towers="visual"), 0)
    assert shapes(shallow) == {"visual": (1, 2, 32)}
    assert shallow.template is None


def test_a_convolutional_tower_learns_text_prompts_and_says_so(conv: Clip) -> None:
    teacher, notes = fresh_teacher(conv, Tune(), 0)
    assert shapes(teacher).keys() == {"text"}
    assert notes == (
        "the image tower ModifiedResNet is no plain transformer and takes no prompts: text prompts alone are learned",
    )
    for towers in ("both", "visual"):
        with pytest.raises(UsageError, match=r"ModifiedResNet is no plain transformer .* learn text prompts alone"):
            fresh_teacher(conv, Tune(towers=towers), 0)


def test_a_model_that_takes_no_prompts_at_all_is_refused(conv: Clip) -> None:
    class Foreign(torch.nn.Module):
        text = torch.nn.Linear(2, 2)
        visual = conv.visual

    foreign = object.__new__(Clip)
    foreign.uri, foreign.model, foreign.tokenizer = "foreign", Foreign(), conv.tokenizer
    with pytest.raises(UsageError, match=r"foreign takes no prompts: .*ModifiedResNet.*; .*text tower Linear"):
        fresh_teacher(foreign, Tune(), 0)


def test_text_prompts_begin_as_the_given_words(clip: Clip) -> None:
    embedding: Tensor = clip.model.get_parameter("token_embedding.weight")
    ids = clip.tokenizer(["a drawing of {}."])[0, 1:4]
    teacher, _ = fresh_teacher(clip, Tune(words="a drawing of", length=3), 0)
    assert torch.equal(teacher.prompts["text"][0], embedding[ids])
    assert teacher.template == "a drawing of {}."
    drawn, _ = fresh_teacher(clip, Tune(words="", length=3), 0)
    assert drawn.template == "X X X {}."
    assert 0.005 < float(drawn.prompts["text"][0].detach().std()) < 0.05


def test_fresh_prompts_follow_from_the_seed(clip: Clip) -> None:
    one, again, other = (fresh_teacher(clip, Tune(), seed)[0].prompts["visual"] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


# --------------------------------------------------------------------------------------------------- what is learned


@pytest.fixture(scope="module")
def shots(bench_dir: Path) -> Labelled:
    return load_benchmark(f"dir:{bench_dir}").labelled.shots(4, 0)


SMALL: dict[str, Any] = {"epochs": 3, "views": 2, "batch_size": 4, "average_at": 3}


def learned(clip: Clip, shots: Labelled, folder: Path, **settings: Any) -> tuple[PromptedClip, dict[str, float]]:
    chosen = Tune(**(SMALL | settings))
    teacher, _ = fresh_teacher(clip, chosen, 0)
    practice = prepare(clip, teacher, shots, chosen, 0, folder / "store", Stopper())
    return teacher, tune(teacher, practice, chosen, make_fabric("cpu"), folder, Stopper(), silent)


def test_the_shots_are_learned_and_the_model_stays_as_it_was(clip: Clip, shots: Labelled, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    free = {"text": 0.0, "image": 0.0, "logits": 0.0, "lr": 0.1, "flip": False, "crop": 1.0, "views": 1}
    first = learned(clip, shots, tmp_path / "a", epochs=1, **free)[1]
    last = learned(clip, shots, tmp_path / "b", epochs=8, **free)[1]
    assert last["ce"] < first["ce"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.model.state_dict().items())


def test_heavy_anchors_hold_the_prompts_near_the_frozen_model(clip: Clip, shots: Labelled, tmp_path: Path) -> None:
    held = learned(clip, shots, tmp_path / "a", epochs=6, text=200.0, image=200.0, ce=0.0, lr=0.02)[1]
    loose = learned(clip, shots, tmp_path / "b", epochs=6, text=0.0, image=0.0, lr=0.02)[1]
    assert held["text"] + held["image"] < loose["text"] + loose["image"]


def test_chunks_of_texts_do_not_change_what_is_learned(clip: Clip, shots: Labelled, tmp_path: Path) -> None:
    found = [learned(clip, shots, tmp_path / str(chunk), chunk=chunk)[0].prompts["text"] for chunk in (1, 64)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("towers", ["visual", "text"])
def test_one_tower_alone_learns(towers: Any, clip: Clip, shots: Labelled, tmp_path: Path) -> None:
    fresh = fresh_teacher(clip, Tune(towers=towers), 0)[0].prompts[towers]
    teacher, figures = learned(clip, shots, tmp_path, towers=towers)
    assert not torch.equal(teacher.prompts[towers], fresh)
    assert figures["loss"] > 0
    if towers == "text":  # the images are the frozen model's own
        assert figures["image"] == 0
        assert torch.equal(F.normalize(teacher.visual(torch.ones(1, 3, 32, 32)), dim=-1), _plain(clip))


def _plain(clip: Clip) -> Tensor:
    return F.normalize(clip.visual(torch.ones(1, 3, 32, 32)), dim=-1)
