"""A small network that says from a prompt where to begin: it learns from the first finished images of its own run."""

import torch
from torch import Tensor, nn

from promptstill.engine import stream_seed

HIDDEN, STEPS, RATE = 128, 200, 3e-3
ENOUGH = 32  # finished images to learn from


class Proposer:
    """Prompt embeddings -> first latents, by a network of one hidden layer."""

    def __init__(self, prompts: Tensor, latents: Tensor, seed: int) -> None:
        """Learn from prompt embeddings (N, D) and the latents (N, ...) of the images that came of them.

        A pure function of its arguments: the same images give the same network.
        """
        self.shape = latents.shape[1:]
        flat = latents.flatten(1).float()
        self.middle, self.width = flat.mean(0), flat.std().clamp(min=1e-6)
        wanted = (flat - self.middle) / self.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(seed, "proposer"))
            net = nn.Sequential(nn.Linear(prompts.shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, flat.shape[1]))
        self.net = net.to(prompts.device)
        adam = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.1)
        for _ in range(STEPS):
            loss = (self.net(prompts) - wanted).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()

    @torch.no_grad()
    def __call__(self, prompt: Tensor) -> Tensor:
        """The latent that is proposed for one prompt embedding (D,)."""
        return (self.middle + self.width * self.net(prompt[None])[0]).view(self.shape)
