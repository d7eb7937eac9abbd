"""Learning rates as pure functions of time."""

import math


def epoch_rate(epoch: int, epochs: int, peak: float, warm_rate: float = 1e-5, warm_epochs: int = 1) -> float:
    """The rate of a whole epoch (the first is 0), as PromptSRC and PromptKD have it.

    A constant ``warm_rate`` for ``warm_epochs``, then ``peak / 2 (1 + cos(pi (epoch - warm_epochs) / epochs))``. The
    cosine is cut short by the warm-up: the last epoch of 20 still has 2.4 % of the peak.
    """
    if epoch < warm_epochs:
        return warm_rate
    return 0.5 * peak * (1 + math.cos(math.pi * (epoch - warm_epochs) / epochs))
