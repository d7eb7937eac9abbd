"""Learning rates as pure functions of time."""

import math

WARM_UP = 0.05  # share of all steps


def step_share(step: int, total: int) -> float:
    """The share of the peak rate at one of ``total`` steps: a linear warm-up, then half a cosine down to zero."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def epoch_rate(epoch: int, epochs: int, peak: float, warm_rate: float = 1e-5, warm_epochs: int = 1) -> float:
    """The rate of a whole epoch (the first is 0), as PromptSRC and PromptKD have it.

    A constant ``warm_rate`` for ``warm_epochs``, then ``peak / 2 (1 + cos(pi (epoch - warm_epochs) / epochs))``. The
    cosine is cut short by the warm-up: the last epoch of 20 still has 2.4 % of the peak.
    """
    if epoch < warm_epochs:
        return warm_rate
    return 0.5 * peak * (1 + math.cos(math.pi * (epoch - warm_epochs) / epochs))
