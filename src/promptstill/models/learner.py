"""What learns in a student, with which optimiser, and what is kept of it. All chosen by object, never by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from promptstill.errors import UsageError
from promptstill.models.student import Student
from promptstill.ops.schedules import epoch_rate, step_share
from promptstill.settings import Distill


@dataclass(frozen=True)
class Phase:
    """A stretch of training: its name, what learns (projector, prompts, all), for how long, at which peak rate."""

    name: str
    learns: str
    epochs: int
    lr: float


def what_learns(student: Student, settings: Distill) -> str:
    """``projector``, ``prompts`` or ``all``.

    Raises:
        UsageError: prompts are to learn, and the student has none.
    """
    if settings.train == "auto":
        return "all" if student.tokens is None else "prompts"
    if settings.train == "prompts" and student.tokens is None:
        uri = student.architecture.uri
        raise UsageError(f"{uri} has no prompts that could learn; use --student prompted:{uri} or distill.train=all")
    return settings.train


def phases(student: Student, settings: Distill) -> list[Phase]:
    """The projector (or head) alone for a while, if that is asked for; then all that learns."""
    main = Phase("distill", what_learns(student, settings), settings.epochs, settings.lr)
    warm = Phase("warm-up", "projector", settings.warm_epochs, settings.warm_lr or settings.lr)
    return [warm, main] if settings.warm_epochs else [main]


def parameter_groups(student: Student, phase: Phase, settings: Distill) -> list[dict[str, Any]]:
    """Parameters that learn in a phase, with their peak learning rates; all others are frozen."""
    student.requires_grad_(False)
    parts: list[tuple[float, list[nn.Parameter]]] = [(1.0, list(student.projector.parameters()))]
    if student.tokens is not None and phase.learns != "projector":
        parts.append((settings.prompt_lr, [student.tokens]))
    if phase.learns == "all" and settings.backbone_lr > 0:
        parts.append((settings.backbone_lr, list(student.tower.parameters())))
    for parameter in chain.from_iterable(parameters for _, parameters in parts):
        parameter.requires_grad_(True)
    return [{"params": part, "lr": phase.lr * share, "peak": phase.lr * share} for share, part in parts]


def make_optimizer(groups: list[dict[str, Any]], settings: Distill) -> Optimizer:
    """SGD with momentum, or AdamW."""
    if settings.optimizer == "sgd":
        return SGD(groups, lr=0.0, momentum=settings.momentum, weight_decay=settings.weight_decay)
    return AdamW(groups, weight_decay=settings.weight_decay)


def set_rates(optimizer: Any, settings: Distill, epochs: int, step: int, total: int) -> None:
    """Set the learning rates of one of a phase's ``total`` steps."""
    for group in optimizer.param_groups:
        if settings.schedule == "epoch":
            group["lr"] = epoch_rate(step * epochs // total, epochs, group["peak"])
        else:
            group["lr"] = group["peak"] * step_share(step, total)


def frozen_backbone(student: Student) -> bool:
    """Whether nothing in the backbone learns, so that its features of an image stay what they are."""
    return not any(parameter.requires_grad for parameter in student.backbone.parameters())


def train_mode(student: Any) -> None:
    """Training mode, but not for a frozen tower: its statistics stay too."""
    student.train()
    if not any(parameter.requires_grad for parameter in student.tower.parameters()):
        student.tower.eval()


def changing(student: Student, phase: Phase) -> dict[str, Tensor]:
    """The tensors of a student's state that training may change, by name: a frozen tower is left out."""
    whole = phase.learns == "all"
    still = set() if whole else {id(tensor) for tensor in _tensors(student.tower)}
    state = student.state_dict(keep_vars=True)
    return {name: tensor.detach() for name, tensor in state.items() if id(tensor) not in still}


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def snapshot(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy that further training does not reach, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


class Average:
    """An exponential moving average of tensors, which forgets faster in its first steps."""

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.tensors, self.decay, self.steps = {n: t.clone() for n, t in tensors.items()}, decay, 0

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"tensors": self.tensors, "steps": self.steps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.steps = state["steps"]
        for name, tensor in self.tensors.items():
            tensor.copy_(state["tensors"][name])

    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Take one step's tensors in."""
        self.steps += 1
        blend = get_ema_multi_avg_fn(min(self.decay, (1 + self.steps) / (10 + self.steps)))
        floats = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
        blend([self.tensors[name] for name in floats], [tensors[name] for name in floats], self.steps)
        for name in tensors.keys() - set(floats):
            self.tensors[name].copy_(tensors[name])
