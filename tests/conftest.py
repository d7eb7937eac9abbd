"""What holds for every test: no network, no cache of the hub, the same examples each run."""

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# Before any library reads them: no hub, a hub cache of this run only, figures without a screen.
_HUB_HOME = tempfile.mkdtemp(prefix="promptstill-tests-")
atexit.register(shutil.rmtree, _HUB_HOME, ignore_errors=True)
os.environ.update(HF_HOME=_HUB_HOME, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", MPLBACKEND="Agg")

# Derandomised: a red test is red again on the next machine. No deadline: two busy cores are slow at random.
settings.register_profile("promptstill", derandomize=True, deadline=None, database=None, max_examples=25)
settings.load_profile("promptstill")


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine; processes of one test may still talk to each other."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {address[0]}: tests run offline, give them what they need")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield
