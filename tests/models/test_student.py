"""Students of both kinds are built the same way each time, give unit embeddings, and take local weights."""

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from promptstill.errors import MissingError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.student import PromptShape, Student, make_student, rebuild
from promptstill.ops.hashing import state_hash
from tiny import CONVOLUTIONAL, make_clip

TIMM = ("timm:test_vit", "timm:test_byobnet", "timm:test_resnet")


def student(uri: str, clip: Clip, *, size: int | None = None, weights: Path | None = None, seed: int = 0) -> Student:
    return make_student(uri, clip, size, weights, seed)


def uris(clip_dir: Path) -> tuple[str, ...]:
    return (*TIMM, f"dir:{clip_dir}", f"prompted:dir:{clip_dir}")


def test_every_kind_embeds_into_the_teachers_space(clip: Clip, clip_dir: Path) -> None:
    for uri in uris(clip_dir):
        made = student(uri, clip).eval()
        size = made.architecture.preprocess.size
        embedded = made(torch.rand(2, 3, size, size))
        assert embedded.shape == (2, clip.dim)
        torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(2))
        learns = {id(p) for p in made.parameters() if p.requires_grad}
        if made.tokens is None:
            assert len(learns) == len(list(made.parameters()))
        else:
            assert learns == {id(made.tokens), *map(id, made.projector.parameters())}


def test_it_is_the_same_student_each_time_and_leaves_the_global_stream_alone(clip: Clip, clip_dir: Path) -> None:
    for uri in uris(clip_dir):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = state_hash(student(uri, clip))
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        assert state_hash(student(uri, clip)) == first
        assert state_hash(student(uri, clip, seed=1)) != first


def test_it_is_rebuilt_from_its_architecture(clip: Clip, clip_dir: Path) -> None:
    for uri in uris(clip_dir):
        made = student(uri, clip).eval()
        again = rebuild(made.architecture)
        again.load_state_dict(made.state_dict())
        size = made.architecture.preprocess.size
        images = torch.rand(2, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(again.eval()(images), made(images))


def test_a_clip_student_begins_with_the_clips_weights(clip: Clip, clip_dir: Path) -> None:
    made = student(f"dir:{clip_dir}", clip)
    assert state_hash(made.backbone) == state_hash(clip.visual)
    assert made.architecture.weights == f"those of dir:{clip_dir}"
    assert not any(p.requires_grad for p in clip.model.parameters()), "the student must not share the teacher's weights"


def test_a_prompted_student_has_tokens_over_the_clips_frozen_weights(clip: Clip, clip_dir: Path) -> None:
    made = make_student(f"prompted:dir:{clip_dir}", clip, None, None, 0, PromptShape(depth=9, length=3))
    assert made.tokens is not None
    assert made.tokens.shape == (2, 3, 32), "no deeper than the tower"
    assert made.architecture.prompts == (2, 3)
    assert state_hash(made.tower) == state_hash(clip.visual)
    assert made.architecture.weights == f"those of dir:{clip_dir}"
    assert not any("text" in name or "token_embedding" in name for name in made.state_dict())
    shallow = make_student(f"prompted:dir:{clip_dir}", clip, None, None, 0, PromptShape(depth=1))
    assert shallow.tokens is not None
    assert shallow.tokens.shape == (1, 4, 32)


def test_a_student_that_shares_the_teachers_texts_begins_with_its_own_embeddings(clip: Clip, clip_dir: Path) -> None:
    made, images = student(f"prompted:dir:{clip_dir}", clip).eval(), torch.rand(2, 3, 32, 32)
    assert made.architecture.shares_space
    with torch.no_grad():
        torch.testing.assert_close(made(images), F.normalize(made.features(images), dim=-1))


def test_a_tower_that_takes_no_prompts_is_refused_but_its_projector_can_learn(clip: Clip, tmp_path: Path) -> None:
    uri = f"prompted:dir:{make_clip(tmp_path / 'convolutional', vision=CONVOLUTIONAL)}"
    with pytest.raises(UsageError, match="ModifiedResNet is no plain transformer and takes no prompts") as caught:
        student(uri, clip)
    assert "distill.train=projector" in str(caught.value)
    made = make_student(uri, clip, None, None, 0, prompts=None)
    assert made.tokens is None
    assert made.eval()(torch.rand(2, 3, 32, 32)).shape == (2, clip.dim)


@pytest.mark.parametrize("uri", TIMM)
def test_a_timm_student_takes_the_teachers_input_or_another_size(clip: Clip, uri: str) -> None:
    assert student(uri, clip).architecture.preprocess.size == 32
    larger = student(uri, clip, size=64)
    assert larger.architecture.preprocess.size == 64
    assert larger.architecture.preprocess.mean == clip.preprocess.mean
    assert larger(torch.rand(2, 3, 64, 64)).shape == (2, clip.dim)


def test_a_timm_student_whose_head_widens_the_features(clip: Clip) -> None:
    made = student("timm:mobilenetv3_small_050", clip)
    assert made.eval()(torch.rand(2, 3, 32, 32)).shape == (2, clip.dim)


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_local_weights_fill_the_backbone(clip: Clip, tmp_path: Path, kind: str) -> None:
    torch.manual_seed(4)
    source = timm.create_model("test_byobnet", num_classes=7)  # with a classifier, as checkpoints have
    path = tmp_path / f"weights.{kind}"
    save_file(source.state_dict(), path) if kind == "safetensors" else torch.save(source.state_dict(), path)
    made = student("timm:test_byobnet", clip, weights=path)
    assert made.architecture.weights == f"file {path.name}"
    ours, theirs = made.backbone.state_dict(), source.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_weights_of_another_model_or_no_weights_are_refused(clip: Clip, tmp_path: Path) -> None:
    other, text, none = tmp_path / "other.pth", tmp_path / "text.pth", tmp_path / "none.safetensors"
    torch.save(timm.create_model("test_vit").state_dict(), other)
    text.write_text("no weights")
    wide = tmp_path / "wide.pth"
    state = timm.create_model("test_byobnet").state_dict()
    torch.save({name: torch.cat([tensor, tensor]) if tensor.ndim else tensor for name, tensor in state.items()}, wide)
    listed = tmp_path / "list.pth"
    torch.save([1, 2], listed)
    for path, words in (
        (other, "lacks"),
        (text, "more than plain tensors"),
        (none, "do not exist"),
        (wide, "of this very model"),
        (listed, "plain state dict"),
    ):
        with pytest.raises(MissingError, match=words) as caught:
            student("timm:test_byobnet", clip, weights=path)
        assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_not_run(clip: Clip, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "exploded"),))  # pyright: ignore

    torch.save({"a": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(MissingError, match="more than plain tensors"):
        student("timm:test_byobnet", clip, weights=tmp_path / "bomb.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("timm:test_vitt", UsageError, "did you mean timm:test_vit"),
        ("timm:", UsageError, "unknown timm model"),
        ("timm:test_vit.r160_in1k", MissingError, "use timm:ARCH without a tag, or --student-weights FILE"),
        ("timm:test_vit.no_such_tag", UsageError, "choose one of r160_in1k"),
        ("nano-studnt", UsageError, "did you mean nano-student"),
    ],
)
def test_a_student_that_cannot_be_had_is_refused(clip: Clip, uri: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        student(uri, clip)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clip_student_has_its_own_size(clip: Clip, clip_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"takes 32 px images; leave distill\.image_size unset"):
        student(f"dir:{clip_dir}", clip, size=64)
