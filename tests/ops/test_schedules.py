"""Learning rates warm up and fall; the published schedule is held by its golden numbers (test_promptsrc.py)."""

import pytest

from promptstill.ops.schedules import epoch_rate, step_share


@pytest.mark.parametrize("total", [1, 2, 10, 400])
def test_the_learning_rate_warms_up_and_falls_to_nothing(total: int) -> None:
    rates = [step_share(step, total) for step in range(total)]
    top = rates.index(max(rates))
    assert max(rates) == 1
    assert top <= max(1, 0.05 * total)
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0
    assert total < 10 or rates[-1] < 0.05


@pytest.mark.parametrize("epochs", [1, 2, 20])
def test_the_published_rate_is_constant_and_small_first_and_never_nothing(epochs: int) -> None:
    rates = [epoch_rate(epoch, epochs, 0.005) for epoch in range(epochs)]
    assert rates[0] == 1e-5
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert all(0 < rate <= 0.005 for rate in rates)
