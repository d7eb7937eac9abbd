"""Named random streams, and a stop that waits for a safe point."""

import os
import signal

import pytest
import torch

from promptstill.engine import Stopper, make_fabric, stream, stream_seed
from promptstill.errors import Interrupted, UsageError


def test_a_stream_is_named_for_ever() -> None:
    """These numbers stand behind every run that was ever made: they must not change."""
    assert stream_seed(0, "synthesize", 17) == 5_655_183_433_507_684_512
    assert stream_seed(0) != stream_seed(1)


def test_other_names_give_other_seeds() -> None:
    keys = [(seed, name, number) for seed in range(9) for name in ("view", "order", "") for number in range(9)]
    seeds = {stream_seed(seed, name, number) for seed, name, number in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_does_not_feel_other_draws() -> None:
    first = torch.rand(3, generator=stream(1, "a"))
    torch.manual_seed(9)
    torch.rand(100)
    assert torch.equal(first, torch.rand(3, generator=stream(1, "a")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stopper().listening() as stopper:
        stopper.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted, match=f"stopped by {number.name}; the same command continues") as caught:
            stopper.check()
        assert caught.value.exit_code == 75
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_device_that_is_not_here_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"'tpu'.*choose one of cpu, auto"):
        make_fabric("tpu")
    assert str(make_fabric("cpu").device) == "cpu"
