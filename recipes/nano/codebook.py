"""The codebook of ``nano-vqgan``: moving averages instead of gradients, and no dead codes."""

import torch
from torch import Tensor

CODES, LATENT, BATCH = 1024, 8, 16
DECAY, DEAD = 0.99, 0.05  # DEAD: tokens a batch under which a code starts afresh


def nearest(tokens: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code of each token, ``(n, d), (k, d) -> (n,)``."""
    return torch.addmm(codes.square().sum(1), tokens, codes.T, alpha=-2.0).argmin(1)


class Codebook:
    """Codes kept as moving averages of the tokens that chose them; unused ones start afresh from live tokens."""

    def __init__(self) -> None:
        self.codes, self.count = torch.zeros(CODES, LATENT), torch.ones(CODES)
        self.total, self.live = torch.zeros(CODES, LATENT), False

    def start(self, tokens: Tensor, rounds: int = 8) -> None:
        """k-means of ``(n, LATENT)`` tokens; rounds that leave a code unused move it onto another token."""
        self.codes = tokens[torch.randperm(len(tokens))[:CODES]].clone()
        for _ in range(rounds):
            self._tally(tokens, decay=0.0)
            self.revive(tokens)
        self.count, self.live = self.count * (BATCH * 256 / len(tokens)), True
        self.total = self.codes * self.count[:, None]

    def _tally(self, tokens: Tensor, decay: float) -> Tensor:
        index = nearest(tokens, self.codes)
        sums = torch.zeros_like(self.codes).index_add_(0, index, tokens)
        self.count.mul_(decay).add_(torch.bincount(index, minlength=CODES).float(), alpha=1 - decay)
        self.total.mul_(decay).add_(sums, alpha=1 - decay)
        weight = self.count[:, None]
        self.codes = torch.where(weight > 1e-6, self.total / weight.clamp(min=1e-6), self.codes)
        return index

    def revive(self, tokens: Tensor) -> int:
        """Put codes that fewer than DEAD tokens a batch choose onto random tokens; returns how many."""
        dead = torch.nonzero(self.count < DEAD)[:, 0]
        self.codes[dead] = tokens[torch.randint(len(tokens), (len(dead),))]
        self.count[dead], self.total[dead] = 4 * DEAD, self.codes[dead] * 4 * DEAD
        return len(dead)

    def quantise(self, z: Tensor, learn: bool) -> tuple[Tensor, Tensor]:
        """Straight-through codes (n, LATENT, 16, 16) and the commitment cost."""
        tokens = z.detach().float().permute(0, 2, 3, 1).reshape(-1, LATENT)
        index = self._tally(tokens, DECAY) if learn else nearest(tokens, self.codes)
        chosen = self.codes[index].view(len(z), *z.shape[2:], LATENT).permute(0, 3, 1, 2).to(z.dtype)
        return z + (chosen - z).detach(), (z.float() - chosen.float()).square().mean()
