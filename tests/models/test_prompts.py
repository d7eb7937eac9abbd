"""Prompt tokens in transformer towers: the public code's numbers, and what must hold in any tower."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, Transformer, VisionTransformer
from safetensors.torch import save_file
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn

from golden_models import error, golden, reference_clip
from golden_prompts import (
    CLASSES,
    STUDENT,
    TEACHER,
    projector_state,
    reference_projector,
    reference_prompts,
    tokens,
)
from promptstill.data.templates import context_template
from promptstill.errors import DataError, UsageError
from promptstill.models.clip import Clip
from promptstill.models.prompts import (
    PromptedClip,
    PromptedVisual,
    fresh_text_tokens,
    fresh_tokens,
    load_prompts,
    save_prompts,
)
from promptstill.models.student import Architecture, Student
from promptstill.models.towers import encode_images, encode_texts, first_word, image_tower_size, text_tower_size
from promptstill.ops.losses import cosine_logits, kl
from promptstill.ops.templates import fill_all

TEXTS = fill_all([context_template(4)], CLASSES)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relative(got: Tensor, want: Tensor) -> float:
    """Error as a share of the tensor's largest value, as gradients are compared."""
    return float((got - want).abs().max() / want.abs().max())


# --------------------------------------------------------------------------------- the teacher's numbers (PromptSRC)


@pytest.fixture(scope="module")
def teacher() -> PromptedClip:
    return PromptedClip(reference_clip("teacher"), reference_prompts("prompt."))


def test_the_prompted_teacher_is_the_reference(teacher: PromptedClip) -> None:
    wanted = golden(TEACHER)
    with torch.no_grad():
        raw_images, raw_texts = teacher.visual(wanted["in.images"]), teacher.encode_ids(wanted["in.compact_ids"])
    images, texts = F.normalize(raw_images, dim=-1), F.normalize(raw_texts, dim=-1)
    found = {"image_features_raw": raw_images, "image_features": images, "text_features_raw": raw_texts}
    found |= {"text_features": texts, "logits": cosine_logits(images, texts, teacher.scale)}
    for name, value in found.items():
        assert error(value, wanted[f"out.{name}"]) < 1e-5, name
    assert error(teacher.embed_texts(TEXTS), wanted["out.text_features"]) < 1e-5


def test_the_teacher_without_prompts_is_the_reference() -> None:
    wanted, clip = golden(TEACHER), reference_clip("teacher")
    with torch.no_grad():
        raw = clip.visual(wanted["in.images"])
    assert error(raw, wanted["out.zs_image_features_raw"]) < 1e-5
    features = F.normalize(raw, dim=-1)
    assert error(features, wanted["out.zs_image_features"]) < 1e-5
    logits = cosine_logits(features, wanted["out.zs_text_features"], clip.scale)
    assert error(logits, wanted["out.zs_logits"]) < 1e-5


def test_text_tokens_begin_as_the_words_they_replace() -> None:
    clip = reference_clip("teacher")
    words = clip.tokenizer([context_template(4).format("river")])[0]
    begun = fresh_text_tokens(clip.model, words, depth=3, length=4, stream=stream())
    assert torch.equal(begun[0], golden(TEACHER)["out.ctx_default_init"])
    assert 0.01 < float(begun[1:].std()) < 0.03
    long = fresh_text_tokens(clip.model, None, depth=1, length=6, stream=stream())
    assert torch.equal(long, fresh_tokens(1, 6, 32, stream()))


# ----------------------------------------------------------------------------------- the student's numbers (PromptKD)


@pytest.fixture
def student() -> Student:
    clip = reference_clip("student")
    architecture = Architecture(clip.uri, "prompted", clip.config, clip.dim, 48, clip.preprocess, "golden")
    backbone = PromptedVisual(clip.visual, tokens(golden(STUDENT), "visual", "student."))
    made = Student(architecture, backbone)
    made.projector.load_state_dict(reference_projector().state_dict())
    return made


def batch(number: int) -> Tensor:
    return golden(STUDENT)["in.images"][number]


def logits_of(student: Student, number: int) -> Tensor:
    wanted = golden(STUDENT)
    scale = float(wanted["out.student_logit_scale"])
    return cosine_logits(student.embed(student.backbone(batch(number))), wanted["out.text_bank"], scale)


def kd_loss(student: Student, number: int, temperature: float = 1.0) -> Tensor:
    """The public code's weight of 1000 over B K terms is ours of 1000 / K over B."""
    return (
        1000
        / len(CLASSES)
        * kl(logits_of(student, number), golden(STUDENT)[f"out.teacher_logits.{number}"], temperature)
    )


def learning(student: Student) -> list[nn.Parameter]:
    assert isinstance(student.backbone, PromptedVisual)
    return [student.backbone.tokens, *student.projector.parameters()]


def test_the_teachers_side_of_distillation_is_the_reference() -> None:
    wanted = golden(STUDENT)
    teacher = PromptedClip(reference_clip("teacher"), reference_prompts("teacher_prompt.", STUDENT))
    vectors = teacher.embed_texts(TEXTS)
    assert error(vectors, wanted["out.text_bank"]) < 1e-5
    for number in range(3):
        with torch.no_grad():
            features = F.normalize(teacher.visual(batch(number)), dim=-1)
        assert error(features, wanted[f"out.teacher_image_features.{number}"]) < 1e-5
        assert error(cosine_logits(features, vectors, teacher.scale), wanted[f"out.teacher_logits.{number}"]) < 1e-5


def test_the_prompted_student_is_the_reference_in_both_modes(student: Student) -> None:
    wanted = golden(STUDENT)
    with torch.no_grad():
        student.eval()
        raw = student.backbone(batch(0))
        assert error(raw, wanted["out.student_clip_raw"]) < 1e-5
        assert error(student.embed(raw), wanted["out.student_features_eval"]) < 1e-5
        logits = logits_of(student, 0)
        assert error(logits, wanted["out.student_logits_eval"]) < 1e-5
        assert error(logits[:, :3], wanted["out.student_logits_eval_base"]) < 1e-5
        assert error(logits[:, 3:], wanted["out.student_logits_eval_novel"]) < 1e-5
        before = {name: value.clone() for name, value in student.projector.state_dict().items()}
        student.train()
        assert error(student.projector(raw), wanted["out.student_proj_raw_train"]) < 1e-5
        assert error(student.embed(raw), wanted["out.student_features_train"]) < 1e-5
        student.projector.load_state_dict(before)
        assert error(logits_of(student, 0), wanted["out.student_logits_train"]) < 1e-5


@pytest.mark.parametrize("temperature", [1, 2])
def test_the_distillation_loss_is_the_reference(student: Student, temperature: int) -> None:
    loss = kd_loss(student.train(), 0, temperature)
    assert error(loss, golden(STUDENT)[f"out.kd_loss_T{temperature}"]) < 1e-5


def test_the_students_gradients_are_the_references(student: Student) -> None:
    kd_loss(student.train(), 0).backward()
    wanted = golden(STUDENT)
    prompts, *_ = learning(student)
    assert prompts.grad is not None
    for ours, theirs in zip(prompts.grad, tokens(wanted, "visual", "grad."), strict=True):
        assert relative(ours, theirs) < 2e-5
    for name, theirs in projector_state(wanted, "grad.").items():
        grad = student.projector.get_parameter(name).grad
        assert grad is not None
        if name == "0.bias":  # zero in exact arithmetic, for a normalisation follows: both are rounding
            assert float((grad - theirs).abs().max()) < 5e-4
        else:
            assert relative(grad, theirs) < 2e-5, name


def test_three_steps_are_the_references(student: Student) -> None:
    """SGD with momentum and weight decay: prompts, projector, and the running statistics of its BatchNorm."""
    wanted = golden(STUDENT)
    optimizer = torch.optim.SGD(learning(student), lr=0.005, momentum=0.9, weight_decay=5e-4)
    for number in range(3):
        loss = kd_loss(student.train(), number)
        assert error(loss, wanted["out.losses_3steps"][number]) < 1e-4
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number != 1:
            prefix = f"after_step{number + 1}."
            assert error(learning(student)[0], tokens(wanted, "visual", prefix)) < 1e-4
            for name, theirs in projector_state(wanted, prefix).items():
                assert error(student.projector.state_dict()[name].double(), theirs.double()) < 1e-4, (number, name)
    with torch.no_grad():
        assert error(logits_of(student.eval(), 0), wanted["out.student_logits_eval_after3"]) < 1e-4


def test_training_leaves_the_frozen_tower_alone(student: Student) -> None:
    backbone = student.backbone
    assert isinstance(backbone, PromptedVisual)
    before = {name: value.clone() for name, value in backbone.tower.state_dict().items()}
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, weight_decay=0.1)
    kd_loss(student.train(), 0).backward()
    optimizer.step()
    assert not backbone.tower.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.tower.state_dict().items())
    assert {id(p) for p in student.parameters() if p.requires_grad} == {id(p) for p in learning(student)}


# -------------------------------------------------------------------------------------------------- any image tower


def own_vit(**settings: Any) -> nn.Module:
    size: dict[str, Any] = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 3, "heads": 2, "mlp_ratio": 2.0}
    return VisionTransformer(**size, output_dim=16, **settings)


def eva(**settings: Any) -> nn.Module:
    size: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
    return Eva(**size, num_classes=16, init_values=1.0, **settings)


IMAGE_TOWERS: dict[str, Callable[[], nn.Module]] = {
    "openai": own_vit,
    "clipa": lambda: own_vit(pool_type="avg", final_ln_after_pool=True, no_ln_pre=True),
    "coca": lambda: own_vit(attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=2, output_tokens=True),
    "dropping patches": lambda: own_vit(patch_dropout=0.5, ls_init_value=1.0),
    "scaled": lambda: own_vit(scale_heads=True, scale_attn=True, qk_norm=True),
    "timm class token": lambda: TimmModel("test_vit", 16, 160, pool="token", proj=None),  # pyright: ignore
    "timm average": lambda: TimmModel("test_vit2", 16, 160, pool="", proj="linear"),
    "timm attention pool (SigLIP)": lambda: TimmModel("test_vit3", 16, 160, pool="map", proj="none"),
    "timm alone": lambda: TimmViT(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0),
    "eva": lambda: eva(),
    "eva, rotated": lambda: eva(use_abs_pos_emb=False, use_rot_pos_emb=True, swiglu_mlp=True),
    "eva, rotated by block": lambda: eva(use_rot_pos_emb=True, rope_type="mixed"),
    "perception encoder": lambda: eva(use_rot_pos_emb=True, global_pool="map", attn_pool_num_heads=2),
}


@pytest.fixture(params=IMAGE_TOWERS, scope="module")
def tower(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = IMAGE_TOWERS[request.param]().eval().requires_grad_(False)
    for name, parameter in made.named_parameters():  # away from the near-identity that such towers begin as
        if "gamma" in name:
            parameter.fill_(0.5)
        elif parameter.dim() > 1:
            parameter.normal_(std=0.1)
    return made


def pixels(tower: nn.Module) -> Tensor:
    side = 160 if isinstance(tower, TimmModel) else 32
    return torch.rand(2, 3, side, side, generator=stream())


def test_prompts_of_length_zero_are_the_plain_tower(tower: nn.Module) -> None:
    blocks, width = image_tower_size(tower)
    plain: Any = tower(pixels(tower))
    if isinstance(plain, tuple):
        plain = plain[0]
    torch.testing.assert_close(encode_images(tower, pixels(tower), torch.zeros(blocks, 0, width)), plain)


def test_every_prompt_changes_the_features_and_gets_a_gradient(tower: nn.Module) -> None:
    blocks, width = image_tower_size(tower)
    for depth in (1, blocks):
        prompted = PromptedVisual(tower, fresh_tokens(depth, 3, width, stream()))
        features = prompted(pixels(tower))
        assert features.shape[0] == 2
        plain = encode_images(tower, pixels(tower), torch.zeros(1, 0, width))
        assert relative(features.detach(), plain) > 1e-4
        (features * torch.randn(features.shape, generator=stream(1))).sum().backward()
        assert prompted.tokens.grad is not None
        assert bool((prompted.tokens.grad.abs().sum(-1) > 0).all()), "a token is without gradient"
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_the_read_out_sees_only_the_tokens_it_was_trained_on(tower: nn.Module) -> None:
    """Where the blocks add nothing, no token hears of another: then prompts cannot matter, unless they are read out."""
    _, width = image_tower_size(tower)
    deaf: Any = copy.deepcopy(tower)
    blocks = deaf.transformer if isinstance(deaf, VisionTransformer) else getattr(deaf, "trunk", deaf).blocks
    for parameter in blocks.parameters():
        parameter.zero_()
    prompted = encode_images(deaf, pixels(deaf), fresh_tokens(2, 3, width, stream()))
    torch.testing.assert_close(prompted, encode_images(deaf, pixels(deaf), torch.zeros(1, 0, width)))


def test_images_of_a_batch_do_not_see_each_other(tower: nn.Module) -> None:
    _, width = image_tower_size(tower)
    given = fresh_tokens(2, 3, width, stream())
    both = encode_images(tower, pixels(tower), given)
    torch.testing.assert_close(encode_images(tower, pixels(tower)[1:], given), both[1:], rtol=1e-4, atol=1e-5)


def test_a_prompted_tower_stays_in_evaluation_mode(tower: nn.Module) -> None:
    _, width = image_tower_size(tower)
    prompted = PromptedVisual(tower, fresh_tokens(1, 2, width, stream())).train()
    assert prompted.training
    assert not any(module.training for module in prompted.tower.modules())
    assert [name for name, parameter in prompted.named_parameters() if parameter.requires_grad] == ["tokens"]


def test_the_layout_that_a_transformer_works_in_does_not_matter() -> None:
    torch.manual_seed(0)
    tower = own_vit().eval()
    assert isinstance(tower, VisionTransformer)
    given = fresh_tokens(3, 2, 32, stream())
    wanted = encode_images(tower, pixels(tower), given)
    other = Transformer(32, 3, 2, 2.0, batch_first=False).eval()
    other.load_state_dict(tower.transformer.state_dict())
    tower.transformer = other
    torch.testing.assert_close(encode_images(tower, pixels(tower), given), wanted)


@pytest.mark.parametrize("name", ["test_convnext", "test_resnet", "test_vit_relpos"])
def test_towers_without_a_plain_sequence_are_refused(name: str) -> None:
    tower = TimmModel(name, 16, 160, pool="avg", proj="linear")
    with pytest.raises(UsageError, match=r"takes no prompts; train the projector alone .* or learn text prompts alone"):
        PromptedVisual(tower, torch.zeros(1, 1, 32))


@pytest.mark.parametrize("shape", [(4, 2, 32), (0, 2, 32), (1, 2, 31), (2, 32)])
def test_tokens_that_do_not_fit_the_tower_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"visual prompts .* do not fit .* depth 1 to 3 and width 32"):
        PromptedVisual(own_vit(), torch.zeros(shape))


# --------------------------------------------------------------------------------------------------- any text tower

WORDS = [[40, 1, 2, 3, 41, 0, 0, 0, 0, 0], [40, 4, 5, 6, 7, 8, 41, 0, 0, 0], [40, 9, 10, 11, 41, 0, 0, 0, 0, 0]]
IDS = torch.tensor(WORDS)


def text_model(custom: bool = False, **settings: Any) -> nn.Module:
    vision = {"image_size": 8, "layers": 1, "width": 16, "head_width": 16, "patch_size": 8}
    text = {"context_length": 10, "vocab_size": 42, "width": 16, "heads": 2, "layers": 3} | settings
    kind: Any = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    torch.manual_seed(0)
    return kind(16, vision, text).eval().requires_grad_(False)


TEXT_TOWERS: dict[str, dict[str, Any]] = {
    "openai": {},
    "kept apart": {"custom": True},
    "end by id": {"custom": True, "pool_type": "eos", "eos_id": 41},
    "siglip": {"custom": True, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    "without projection": {"custom": True, "proj_type": "none"},
}


@pytest.fixture(params=TEXT_TOWERS, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return text_model(**TEXT_TOWERS[request.param])


def test_texts_without_prompts_are_the_plain_tower(model: Any) -> None:
    wanted = model.encode_text(IDS)
    torch.testing.assert_close(encode_texts(model, IDS), wanted)
    torch.testing.assert_close(encode_texts(model, IDS, torch.zeros(3, 0, 16)), wanted)


def test_the_replaced_words_own_embeddings_are_the_plain_tower() -> None:
    model = text_model()
    same = IDS.clone()
    same[:, 1:3] = torch.tensor([1, 2])
    own = model.get_submodule("token_embedding")(torch.tensor([1, 2]))
    torch.testing.assert_close(encode_texts(model, IDS, own[None]), encode_texts(model, same))


def test_every_text_prompt_gets_a_gradient_and_replaces_its_word(model: nn.Module) -> None:
    blocks, width = text_tower_size(model)
    given = fresh_tokens(blocks, 2, width, stream()).requires_grad_()
    features = encode_texts(model, IDS, given)
    (features * torch.randn(features.shape, generator=stream(1))).sum().backward()
    assert given.grad is not None
    assert bool((given.grad.abs().sum(-1) > 0).all())
    other = IDS.clone()
    other[:, 1:3] = 20  # words that are replaced do not matter
    torch.testing.assert_close(encode_texts(model, other, given), features)


def test_what_follows_the_end_does_not_matter() -> None:
    """Exact: a text alone, one beside a longer one, and one cut after its end are the same."""
    model, given = text_model(), fresh_tokens(3, 2, 16, stream())
    alone = encode_texts(model, IDS[:1], given)
    torch.testing.assert_close(alone, encode_texts(model, IDS, given)[:1], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(alone, encode_texts(model, IDS[:1, :5], given), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(encode_texts(model, IDS), model.encode_text(IDS), rtol=1e-5, atol=1e-7)  # pyright: ignore


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_change_neither_features_nor_gradients(chunk: int) -> None:
    model, found = text_model(), []
    for size in (None, chunk):
        given = fresh_tokens(3, 2, 16, stream()).requires_grad_()
        features = encode_texts(model, IDS, given, chunk=size)
        features.square().sum().backward()
        assert given.grad is not None
        found.append((features.detach(), given.grad))
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_the_first_word_is_found_whatever_the_tokenizer() -> None:
    assert first_word(open_clip.SimpleTokenizer()) == 1
    assert first_word(lambda texts: torch.tensor([[len(text), ord(text[0]), 0] for text in texts])) == 1
    assert first_word(lambda texts: torch.tensor([[ord(text[0]), 1, 1] for text in texts])) == 0


def test_foreign_text_towers_are_refused() -> None:
    class Foreign(nn.Module):
        text = nn.Linear(2, 2)

    with pytest.raises(UsageError, match="text tower Linear takes no prompts; learn visual prompts alone"):
        encode_texts(Foreign(), IDS)
    coca = text_model(custom=True, embed_cls=True)
    assert isinstance(coca.text, TextTransformer)
    with pytest.raises(UsageError, match="TextTransformer with a class token takes no prompts"):
        encode_texts(coca, IDS)


# ---------------------------------------------------------------------------------------------------- prompted CLIPs


def test_text_prompts_alone_serve_a_convolutional_clip() -> None:
    vision: Any = {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    config: dict[str, Any] = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": {"width": 16, "heads": 2, "layers": 1}}
    model = open_clip.CLIP(**config)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    open_clip.set_model_preprocess_cfg(model, {"size": 160, "mean": mean, "std": std})
    plain = Clip("conv", model, open_clip.SimpleTokenizer(), config)
    prompted = PromptedClip(plain, {"text": fresh_tokens(1, 4, 16, stream())})
    assert prompted.visual is plain.visual
    assert not torch.allclose(prompted.embed_texts(TEXTS), plain.embed_texts(TEXTS), atol=1e-3)
    with pytest.raises(UsageError, match="ConvNeXt"):
        PromptedClip(plain, {"visual": torch.zeros(1, 1, 16)})


def test_a_prompted_clip_is_used_like_a_clip(clip: Clip) -> None:
    before = clip.hash
    prompts = {"visual": fresh_tokens(2, 3, 32, stream()), "text": fresh_tokens(2, 4, 16, stream())}
    prompted = PromptedClip(clip, prompts)
    assert (prompted.dim, prompted.scale, prompted.preprocess) == (clip.dim, clip.scale, clip.preprocess)
    assert prompted.hash != before == clip.hash
    images = torch.rand(2, 3, 32, 32, generator=stream())
    features, texts = prompted.embed_images(images), prompted.embed_texts(TEXTS, batch_size=2)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))
    assert texts.shape == (len(TEXTS), 16)
    assert not torch.allclose(features, clip.embed_images(images), atol=1e-4)
    features.sum().backward()
    assert prompted.prompts["visual"].grad is not None
    with pytest.raises(DataError, match=r"over 24 tokens, .* reads; shorten it"):
        prompted.embed_texts(["word " * 30])
    with pytest.raises(UsageError, match="prompts for audio are unknown"):
        PromptedClip(clip, {"audio": torch.zeros(1, 1, 1)})


def test_a_text_without_room_for_the_prompts_is_embedded_by_the_frozen_tower(clip: Clip) -> None:
    prompted = PromptedClip(clip, {"text": fresh_tokens(1, 4, 16, stream())})
    mixed = ["A dog", "a photo of a dog.", "an ink drawing of a cat"]
    found, plain = prompted.embed_texts(mixed), clip.embed_texts(mixed)
    assert torch.equal(found[[0, 2]], plain[[0, 2]])
    torch.testing.assert_close(found[1:2], prompted.embed_texts(mixed[1:2]))
    assert not torch.allclose(found[1], plain[1], atol=1e-3)


def test_visual_prompts_alone_leave_texts_alone(clip: Clip) -> None:
    prompted = PromptedClip(clip, {"visual": fresh_tokens(1, 2, 32, stream())})
    assert torch.equal(prompted.embed_texts(TEXTS), clip.embed_texts(TEXTS))


# ------------------------------------------------------------------------------------------------------------- files


def test_a_prompts_file_is_small_and_comes_back(tmp_path: Path) -> None:
    """At the size of ViT-L/14: 9 blocks, 4 tokens, 1024 and 768 wide."""
    prompts = {"visual": fresh_tokens(9, 4, 1024, stream()), "text": fresh_tokens(9, 4, 768, stream())}
    save_prompts(tmp_path / "prompts.safetensors", prompts, base="abc")
    assert (tmp_path / "prompts.safetensors").stat().st_size < 300_000
    back = load_prompts(tmp_path / "prompts.safetensors", base="abc")
    assert all(torch.equal(back[which], prompts[which]) for which in prompts)


def test_prompts_of_other_weights_and_other_files_are_refused(tmp_path: Path) -> None:
    save_prompts(tmp_path / "a", {"visual": torch.zeros(1, 1, 4)}, base="abc")
    with pytest.raises(DataError, match=r"learned on weights abc\.\.\., here are xyz"):
        load_prompts(tmp_path / "a", base="xyz")
    save_file({"weight": torch.zeros(1)}, tmp_path / "b")
    with pytest.raises(DataError, match="holds weight, not visual and text"):
        load_prompts(tmp_path / "b")
    (tmp_path / "c").write_text("hello")
    for name in ("c", "d"):
        with pytest.raises(DataError, match="cannot read prompts"):
            load_prompts(tmp_path / name)
