"""Train ``nano-vqgan``: a 64-pixel discrete autoencoder of icon pictures in the layout of ``diffusers.VQModel``.

Three stages in one run, by share of the time given: a plain autoencoder with noise on its latents; then vector
quantisation, the codebook started by k-means of the latents (van den Oord et al. 2017, appendix A.1 for the moving
averages); last, the full-resolution residual blocks, which are the identity until then and cost a third of the time.
Pictures are scaled to [-1, 1] for the model. Run it again to resume: ``python recipes/nano/vqgan.py WORK [MINUTES]``.
Minutes are of processor time, so that the schedule does not run ahead of the training on a busy machine.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from codebook import BATCH, CODES, LATENT, Codebook, nearest
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.utils import logging as diffusers_logging
from pictures import Icons
from torch import Tensor, nn

WIDTHS, GROUPS = (16, 32, 64), 8
RATE, LAST_RATE, WARM_UP = 1.5e-3, 3e-5, 200
QUANTISE_AT, GROW_AT, SETTLE_AT = 0.20, 0.70, 0.88  # shares of the time at which a stage begins
NOISE, LATENT_COST, COMMITMENT, EDGE, COLOUR = 0.15, 0.005, 0.25, 0.5, 1.0
TINT_CHANNELS, TINT_SCALE, TINT_COST = slice(5, 7), 2.0, 1.0  # latents that start out as the colour of their block
WEIGHT_KEEP = 0.998  # of the moving average of the weights
SAVE_EVERY, JUDGE_EVERY = 120.0, 60.0  # seconds by the clock, and of processor time
EVAL_SEED, FINAL_PICTURES = 1_000_003, 2048


def new_model() -> VQModel:
    """An untrained model whose full-resolution residual blocks pass their input through."""
    n = len(WIDTHS)
    model = VQModel(down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n,
                    block_out_channels=WIDTHS, latent_channels=LATENT, vq_embed_dim=LATENT, sample_size=64,
                    num_vq_embeddings=CODES, norm_num_groups=GROUPS, mid_block_add_attention=False)  # fmt: skip
    encoder, decoder = cast(Any, model.encoder), cast(Any, model.decoder)
    for block in [*encoder.down_blocks[0].resnets, *decoder.up_blocks[-1].resnets]:
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
    return model


# diffusers' own forward, less its divisions by one, dropouts and casts; ``bypass`` leaves out the full-size blocks.
def residual(block: Any, x: Tensor, bypass: bool = False) -> Tensor:
    """One residual block; bypassed, its shortcut alone, which is the same while ``conv2`` is zero."""
    short = x if block.conv_shortcut is None else block.conv_shortcut(x)
    if bypass:
        return short
    return short + block.conv2(F.silu(block.norm2(block.conv1(F.silu(block.norm1(x))))))


def encode(model: VQModel, x: Tensor, bypass: bool = False) -> Tensor:
    """Pictures (n, 3, 64, 64) in [-1, 1] -> latents (n, LATENT, 16, 16), not quantised."""
    encoder: Any = model.encoder
    x = encoder.conv_in(x)
    for level, down in enumerate(encoder.down_blocks):
        for block in down.resnets:
            x = residual(block, x, bypass and level == 0)
        for sampler in down.downsamplers or ():
            x = sampler.conv(F.pad(x, (0, 1, 0, 1)))
    for block in encoder.mid_block.resnets:
        x = residual(block, x)
    return model.quant_conv(encoder.conv_out(F.silu(encoder.conv_norm_out(x))))


def decode(model: VQModel, z: Tensor, bypass: bool = False) -> Tensor:
    """Latents (n, LATENT, 16, 16) -> pictures (n, 3, 64, 64), about [-1, 1]."""
    decoder: Any = model.decoder
    x = decoder.conv_in(model.post_quant_conv(z))
    for block in decoder.mid_block.resnets:
        x = residual(block, x)
    for level, up in enumerate(decoder.up_blocks):
        for block in up.resnets:
            x = residual(block, x, bypass and level == len(WIDTHS) - 1)
        for sampler in up.upsamplers or ():
            x = sampler.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    return decoder.conv_out(F.silu(decoder.conv_norm_out(x)))


def tints(pictures: Tensor) -> Tensor:
    """Two colour differences (red - green, blue - yellow) of 4x4 blocks, ``(n, 3, 64, 64) -> (n, 2, 16, 16)``."""
    red, green, blue = F.avg_pool2d(pictures, 4).unbind(1)
    return TINT_SCALE * torch.stack([red - green, blue - 0.5 * (red + green)], 1)


def picture_cost(made: Tensor, real: Tensor) -> Tensor:
    """L1 + L2 + L1 of the differences between neighbours (edges) + L1 of the colour of 4x4 blocks, batch mean."""
    gap = made.float() - real
    edges = (gap[..., 1:, :] - gap[..., :-1, :]).abs().mean() + (gap[..., 1:] - gap[..., :-1]).abs().mean()
    blocks = F.avg_pool2d(gap, 4)
    colour = (blocks - blocks.mean(1, keepdim=True)).abs().mean()
    return gap.abs().mean() + gap.square().mean() + EDGE * edges + COLOUR * colour


@dataclass
class Run:
    """Everything that a checkpoint holds."""

    master: VQModel  # float32 weights that the optimiser moves
    mean: VQModel  # their moving average, which is what we ship
    book: Codebook
    adam: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def state(self) -> dict[str, Any]:
        return {"master": self.master.state_dict(), "mean": self.mean.state_dict(), "book": self.book.__dict__,
                "adam": self.adam.state_dict(), "step": self.step, "seconds": self.seconds}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        self.master.load_state_dict(state["master"])
        self.mean.load_state_dict(state["mean"])
        self.adam.load_state_dict(state["adam"])
        self.book.__dict__.update(state["book"])
        self.step, self.seconds = state["step"], state["seconds"]


def learned(model: VQModel) -> list[nn.Parameter]:
    """The parameters that gradients train: all but the codebook."""
    return [p for p in model.parameters() if p is not model.quantize.embedding.weight]


def new_run() -> Run:
    torch.manual_seed(0)
    master, mean = new_model(), new_model()
    mean.load_state_dict(master.state_dict())
    return Run(master, mean.eval(), Codebook(), torch.optim.AdamW(learned(master), lr=RATE, betas=(0.9, 0.95),
               weight_decay=1e-4, fused=True))  # fmt: skip


def rate(step: int, share: float) -> float:
    """Cosine decay by share of the time, after a short warm-up by steps."""
    cosine = LAST_RATE + (RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return cosine * min(1.0, (step + 1) / WARM_UP)


def train_step(run: Run, half: VQModel, real: Tensor, share: float) -> float:
    """One step on (n, 3, 64, 64) pictures in [-1, 1]: bfloat16 passes, float32 weights and averages."""
    bypass = share < GROW_AT
    z = encode(half, real.bfloat16(), bypass)
    if run.book.live:
        z, extra = run.book.quantise(z, learn=True)
        extra = COMMITMENT * extra
    else:
        # Grey is a saddle: latents without colour teach the decoder none, and the other way round. Two are pinned.
        extra = TINT_COST * (z[:, TINT_CHANNELS].float() - tints(real)).abs().mean()
        extra = extra + LATENT_COST * z.float().square().mean()
        z = z + NOISE * torch.randn_like(z)
    cost = picture_cost(decode(half, z, bypass), real)
    half.zero_grad(set_to_none=False)
    (cost + extra).backward()
    apply_gradients(run, half, rate(run.step, share))
    run.step += 1
    return cost.item()


def apply_gradients(run: Run, half: VQModel, lr: float) -> None:
    """Move the float32 weights by the bfloat16 gradients, then refresh the average and the bfloat16 copy."""
    weights, copies = learned(run.master), learned(half)
    for weight, copy in zip(weights, copies, strict=True):
        weight.grad = None if copy.grad is None else copy.grad.float()
    nn.utils.clip_grad_norm_(weights, 1.0)
    run.adam.param_groups[0]["lr"] = lr
    run.adam.step()
    with torch.no_grad():
        keep = min(WEIGHT_KEEP, (1 + run.step) / (10 + run.step))
        for mean, copy, weight in zip(learned(run.mean), copies, weights, strict=True):
            mean.lerp_(weight, 1 - keep)
            copy.copy_(weight)


def to_model(pictures: np.ndarray) -> Tensor:
    """uint8 pictures -> float32 in [-1, 1]."""
    return torch.from_numpy(pictures).float().div_(127.5).sub_(1.0)


def held_out_batches(icons: Icons, count: int, size: int = 64) -> list[np.ndarray]:
    """Indices of ``count`` held-out icons, drawn once and for all."""
    chosen = np.random.default_rng(EVAL_SEED).choice(icons.held_out_indices, count, replace=False)
    return np.array_split(chosen, math.ceil(count / size))


@torch.no_grad()
def judge(model: VQModel, icons: Icons, count: int, plain: bool = False) -> dict[str, float]:
    """Mean PSNR (pictures in [0, 1], clipped), share of codes in use, and share of colour kept (the slope of made
    on real tints; 0 is grey), by diffusers' own forward.

    ``plain`` leaves the latents as they are, which is how the model runs before it has codes.
    """
    psnr, tint, used = [], torch.zeros(2), torch.zeros(CODES, dtype=torch.bool)
    for indices in held_out_batches(icons, count):
        real = to_model(icons.batch(indices, EVAL_SEED))
        latents = model.encode(real, return_dict=False)[0]
        made = model.decode(latents, force_not_quantize=plain, return_dict=False)[0].clamp(-1, 1)
        tint += torch.stack([(tints(made) * tints(real)).sum(), tints(real).square().sum()])
        psnr.append(-10 * ((made - real) / 2).square().mean((1, 2, 3)).clamp(min=1e-10).log10())
        used[nearest(latents.permute(0, 2, 3, 1).reshape(-1, LATENT), model.quantize.embedding.weight)] = True
    values = torch.cat(psnr)
    figures = {"psnr": values.mean(), "psnr_p10": values.quantile(0.1), "codes_used": used.float().mean(),
               "colour": tint[0] / tint[1]}  # fmt: skip
    return {name: round(value.item(), 4) for name, value in figures.items()}


def export(run: Run, folder: Path) -> VQModel:
    """Save the averaged weights in float16, and read them back in float32."""
    with torch.no_grad():
        run.mean.quantize.embedding.weight.copy_(run.book.codes)
    shipped = new_model()
    shipped.load_state_dict(run.mean.state_dict())
    shipped.half().save_pretrained(folder)
    return VQModel.from_pretrained(folder).float().eval()


def batches(icons: Icons, start: int) -> Iterator[np.ndarray]:
    """Training pictures from step ``start`` on: epochs of shuffled icons, new colours each epoch."""
    known = icons.train_indices
    a_epoch, step, order, drawn = len(known) // BATCH, start, known, -1
    while True:
        epoch, row = divmod(step, a_epoch)
        if epoch != drawn:
            order, drawn = np.random.default_rng(epoch).permutation(known), epoch
        yield icons.batch(order[row * BATCH : (row + 1) * BATCH], epoch)
        step += 1


@torch.no_grad()
def start_codes(run: Run, half: VQModel, icons: Icons) -> None:
    """k-means over the latents of 320 training pictures."""
    source = batches(icons, run.step + 50_000)
    latents = [encode(half, to_model(next(source)).bfloat16(), bypass=True) for _ in range(20)]
    run.book.start(torch.cat(latents).float().permute(0, 2, 3, 1).reshape(-1, LATENT))


def report(run: Run, icons: Icons, folder: Path, cost: float, budget: float) -> None:
    """Append one line of the curve, and save the present weights as they would be shipped once there are codes."""
    model = export(run, folder / "vqgan" / "latest") if run.book.live else run.mean
    figures = judge(model, icons, 256, plain=not run.book.live)
    line = {"step": run.step, "images": run.step * BATCH, "minutes": round(run.seconds / 60, 2), "cost": round(cost, 5),
            "rate": rate(run.step, run.seconds / budget), "codes": run.book.live, **figures}  # fmt: skip
    with (folder / "vqgan" / "curve.jsonl").open("a") as curve:
        curve.write(json.dumps(line) + "\n")
    print(line, flush=True)


def save(run: Run, path: Path) -> None:
    torch.save(run.state(), path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def train(run: Run, icons: Icons, folder: Path, budget: float) -> None:
    """Train until ``budget`` seconds of processor time are spent, all resumes together."""
    half, source = new_model(), batches(icons, run.step)
    half.load_state_dict(run.master.state_dict())
    half.bfloat16()
    judged, saved = run.seconds, time.monotonic()
    mean_cost, tick = 0.0, time.process_time()
    while run.seconds < budget:
        share, real = run.seconds / budget, to_model(next(source))
        if share >= QUANTISE_AT and not run.book.live:
            start_codes(run, half, icons)
        mean_cost += 0.02 * (train_step(run, half, real, share) - mean_cost)
        if run.book.live and run.step % 50 == 0 and share < SETTLE_AT:
            with torch.no_grad():
                tokens = encode(half, real.bfloat16(), share < GROW_AT).float().permute(0, 2, 3, 1)
                run.book.revive(tokens.reshape(-1, LATENT))
        now = time.process_time()
        run.seconds, tick = run.seconds + now - tick, now
        if run.seconds - judged > JUDGE_EVERY or run.seconds >= budget:
            report(run, icons, folder, mean_cost, budget)
            judged, tick = run.seconds, time.process_time()
        if time.monotonic() - saved > SAVE_EVERY or run.seconds >= budget:
            save(run, folder / "vqgan" / "last.pt")
            saved = time.monotonic()


@torch.no_grad()
def sheet(model: VQModel, icons: Icons, path: Path, columns: int = 10, pairs: int = 5) -> None:
    """Held-out originals, each row above its reconstructions."""
    from PIL import Image

    indices = held_out_batches(icons, FINAL_PICTURES)[0][: columns * pairs]
    real = icons.batch(indices, EVAL_SEED)
    made = model(to_model(real), return_dict=False)[0].clamp(-1, 1).add(1).mul(127.5).round().byte().numpy()
    rows = np.stack([real, made]).reshape(2, pairs, columns, 3, 64, 64)
    wide = rows.transpose(1, 0, 4, 2, 5, 3).reshape(pairs * 2 * 64, columns * 64, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(wide).quantize(128).save(path, optimize=True)


def multiply_adds(model: VQModel) -> tuple[int, int]:
    """Multiply-adds for one picture: the whole model, and the decoder alone."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for work in (lambda: model(torch.zeros(1, 3, 64, 64)), lambda: decode(model, torch.zeros(1, LATENT, 16, 16))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            work()
        counts.append(counter.get_total_flops() // 2)
    return counts[0], counts[1]


def main(folder: Path, minutes: float) -> None:
    diffusers_logging.set_verbosity_error()
    torch.set_num_threads(1)
    icons, run, checkpoint = Icons(folder), new_run(), folder / "vqgan" / "last.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    train(run, icons, folder, 60 * minutes)
    model = export(run, folder / "assets" / "nano-vqgan")
    whole, decoder = multiply_adds(model)
    figures = judge(model, icons, FINAL_PICTURES) | {
        "pictures": FINAL_PICTURES, "images_seen": run.step * BATCH, "minutes": round(run.seconds / 60, 1),
        "params": sum(p.numel() for p in model.parameters()), "macs": whole, "decoder_macs": decoder,
    }  # fmt: skip
    (folder / "vqgan.json").write_text(json.dumps(figures, indent=1) + "\n")
    sheet(model, icons, Path(__file__).resolve().parents[2] / "docs" / "pictures" / "nano-vqgan.png")
    (folder / "vqgan.done").write_text("done\n")
    print(figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 14.0)
