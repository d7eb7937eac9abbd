"""What is on the processor meets models that are elsewhere.

The device ``meta`` computes shapes only, and, as a GPU does, refuses to mix with others.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from promptstill.artifacts import Prompts
from promptstill.models.clip import load_clip
from promptstill.models.generator import Latents, load_vqgan
from promptstill.models.painter import Finished, Painter, check_paint
from promptstill.models.pixels import Pixels
from promptstill.models.slots import Job
from promptstill.models.student import make_student
from promptstill.ops.preprocess import normalize
from promptstill.settings import Synthesize
from promptstill.stages.evaluate import at_home
from small_runs import vectors_of
from tiny import make_clip, make_vqgan

FAR = torch.device("meta")


def prompts(dim: int) -> Prompts:
    return Prompts(np.array([0, 1]), ("A dog", "A cat"), np.eye(2, dim, dtype=np.float32), ({}, {}))


def painter(generator: Latents, clip_dir: Path, settings: Synthesize) -> Painter:
    teacher = load_clip(f"dir:{clip_dir}")
    vectors = vectors_of(teacher)
    return Painter(teacher.to(FAR), generator.to(FAR), vectors, settings, 0)


@pytest.mark.parametrize("start", ["codes", "shapes"])
@pytest.mark.parametrize("pixels", [False, True])
def test_a_step_of_synthesis(
    clip_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, pixels: bool
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know ``meta``
    generator = Pixels() if pixels else load_vqgan(f"dir:{make_vqgan(tmp_path / 'v')}")
    chosen = Synthesize.model_validate({"start": start, "image_size": 16, "keep_class": 0.5})
    made = painter(generator, clip_dir, chosen)
    check_paint(made.teacher, made.generator, chosen)
    given = prompts(made.teacher.dim)
    jobs = [made.job(given, row, Finished()) for row in (0, 1)]
    jobs[1] = replace(jobs[1], z=torch.zeros(jobs[1].z.shape))  # a warm start came from a file
    slots = made.begin(given, jobs)
    made.step(slots)
    assert slots.z.device == slots.loss.device == FAR
    assert slots.step.tolist() == [1, 1]
    assert isinstance(jobs[0], Job)


def test_pictures_come_to_teacher_and_student(clip_dir: Path, tmp_path: Path) -> None:
    teacher = load_clip(f"dir:{make_clip(tmp_path / 'c')}")
    student = make_student("timm:test_byobnet", load_clip(f"dir:{clip_dir}"), None, None, seed=0).to(FAR)
    images = torch.rand(2, 3, 32, 32)
    assert at_home(student)(images).device == FAR
    assert at_home(student, student.features)(images).device == FAR
    assert teacher.to(FAR).embed_images(images).device == FAR
    assert normalize(images, teacher.preprocess).device.type == "cpu"
