"""Faster training of a mobile network on a CPU, with the same weights under the same names.

In training mode the maps between layers are bfloat16 with channels last; 1x1 convolutions are matrix products (which
CPUs with AMX do several times faster), depthwise convolutions and batch norms are the C++ of fast.cpp. In evaluation
mode every layer is the ordinary one in float32, so what is measured is what is shipped. Without g++ and ninja nothing
changes at all but the speed.
"""

import functools
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

FLAGS = ["-O3", "-march=native", "-mprefer-vector-width=512", "-fno-math-errno", "-fno-trapping-math",
         "-ffinite-math-only", "-fno-signed-zeros"]  # fmt: skip


@functools.cache
def kernels() -> ModuleType:
    """The compiled fast.cpp (a minute the first time, then cached by torch)."""
    from torch.utils.cpp_extension import load

    return load("promptstill_recipe_fast", [str(Path(__file__).with_name("fast.cpp"))], extra_cflags=FLAGS)


def channels_last(x: Tensor) -> Tensor:
    """A map (n, c, h, w) as contiguous bfloat16 (n, h, w, c)."""
    return x.permute(0, 2, 3, 1).to(torch.bfloat16).contiguous()


class DepthwiseFunction(torch.autograd.Function):
    """Depthwise convolution of ``(n, h, w, c)`` by ``(k * k, c)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, k: int, stride: int, pad: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = k, stride, pad
        height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
        return kernels().depthwise(x, weight, k, stride, pad, height, width)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return *kernels().depthwise_backward(grads[0].contiguous(), x, weight, *ctx.geometry), None, None, None


class NormFunction(torch.autograd.Function):
    """Batch norm of ``(n, h, w, c)`` with ReLU6 or nothing; also returns mean and biased variance."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, eps: float, act: bool) -> tuple[Tensor, ...]:
        y, mean, var = kernels().norm(x, gain, shift, eps, act)
        ctx.save_for_backward(x, gain, shift, mean, var)
        ctx.how = eps, act
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *kernels().norm_backward(grads[0].contiguous(), *ctx.saved_tensors, *ctx.how), None, None


class Pointwise(nn.Conv2d):
    """A 1x1 convolution."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if not self.training:
            return super().forward(x)
        return F.linear(channels_last(x), self.weight.flatten(1).to(torch.bfloat16)).permute(0, 3, 1, 2)


class Depthwise(nn.Conv2d):
    """A depthwise convolution that pads as TensorFlow does (equal to half the kernel for stride 1)."""

    plain: type[nn.Conv2d]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if not self.training:
            return self.plain.forward(self, x)
        k, stride = self.kernel_size[0], self.stride[0]
        size = x.shape[2]
        pad = max((-(-size // stride) - 1) * stride + k - size, 0) // 2
        weight = self.weight.flatten(1).t().contiguous()
        return DepthwiseFunction.apply(channels_last(x), weight, k, stride, pad).permute(0, 3, 1, 2)


class Norm(BatchNormAct2d):
    """timm's batch norm with ReLU6 or no activation."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        y, mean, var = NormFunction.apply(channels_last(x), self.weight, self.bias, self.eps,
                                          isinstance(self.act, nn.ReLU6))  # fmt: skip
        count = x.numel() / x.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return y.permute(0, 3, 1, 2)


class Attention(nn.MultiheadAttention):
    """Self-attention whose products with weights obey autocast; the attention itself is float32, which is faster."""

    def forward(self, query: Tensor, *rest: Any, **how: Any) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        if not self.training:
            return super().forward(query, *rest, **how)
        n, length, width = query.shape
        qkv = F.linear(query, self.in_proj_weight, self.in_proj_bias).float()
        q, k, v = qkv.view(n, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        return self.out_proj(mixed), None


def speed_up_vit(tower: nn.Module) -> None:
    """Swap the attention layers of open_clip's ViT for ones that are fast under autocast, in place."""
    for module in tower.modules():
        if type(module) is nn.MultiheadAttention:
            module.__class__ = Attention


def speed_up(trunk: nn.Module) -> None:
    """Swap the layers of a timm EfficientNet-Lite ``trunk`` for the fast ones, in place; square pictures only."""
    if not (shutil.which("g++") and shutil.which("ninja")):
        return
    for module in trunk.modules():
        if isinstance(module, BatchNormAct2d):
            module.__class__ = Norm
        elif isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.__class__ = Pointwise
        elif isinstance(module, nn.Conv2d) and module.groups == module.in_channels:
            module.plain, module.__class__ = type(module), Depthwise
    trunk.global_pool.register_forward_pre_hook(lambda _, maps: (maps[0].float(),))
