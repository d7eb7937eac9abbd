"""A student + a few labelled images -> the same student, fine-tuned with cross-entropy over its class vectors."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from promptstill.artifacts import ClassVectors
from promptstill.data.sets.base import Labelled
from promptstill.data.views import Views
from promptstill.engine import stream
from promptstill.errors import DataError
from promptstill.models.learner import Phase, make_optimizer, parameter_groups, set_rates, train_mode, what_learns
from promptstill.models.student import Student
from promptstill.ops.losses import cosine_logits
from promptstill.settings import Distill


def finetune(
    student: Student, rows: ClassVectors, shots: Labelled, settings: Distill, steps: int, seed: int, fabric: Fabric
) -> Student:
    """Fine-tune ``student`` in place for so many steps; ``rows`` (K, D) turn its outputs into logits.

    DFKD-VLFM (ACM MM 2023) sec. 4.5, which states no hyper-parameters: ours are those of the distillation.

    Raises:
        DataError: there is but one image; the projector's BatchNorm needs two.
    """
    if len(shots) < 2:
        raise DataError(f"{len(shots)} labelled image is too few to learn from; give at least two")
    own = student.architecture.preprocess
    views = Views(shots.images, settings.view_seed, settings.crop, settings.flip, own.size, own.interpolation)
    phase = Phase("fine-tune", what_learns(student, settings), 1, settings.lr)
    model, optimizer = fabric.setup(
        student, make_optimizer(parameter_groups(student, phase, settings), settings), move_to_device=True
    )
    bank, labels = torch.from_numpy(rows.vectors).to(fabric.device), torch.tensor(shots.labels)
    train_mode(student)
    torch.manual_seed(seed)  # dropout, should the backbone have any
    batches = _batches(len(shots), settings.batch_size, seed)
    for step, indices in zip(range(steps), batches, strict=False):
        set_rates(optimizer, settings, 1, step, steps)
        images = views.batch(indices.tolist(), step % settings.views).to(fabric.device)
        loss = F.cross_entropy(cosine_logits(model(images), bank, rows.scale), labels[indices].to(fabric.device))
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    return student.eval()


def _batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Shuffled batches without end; a last single image waits for the next round."""
    number = 0
    while True:
        order = torch.randperm(count, generator=stream(seed, "order", number))
        yield from (part for part in order.split(size) if len(part) > 1)
        number += 1
