"""What holds for every test: no network, no cache of the hub, the same examples each run."""

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
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

import torch  # noqa: E402  (they read the environment)

from promptstill.models.clip import Clip, load_clip  # noqa: E402
from promptstill.models.generator import VQGAN, load_vqgan  # noqa: E402
from runs import Models  # noqa: E402
from tiny import make_benchmark, make_clip, make_pictures, make_vqgan  # noqa: E402


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


# --------------------------------------------------------------------------------- tiny models, made once for all tests


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """One thread: the models are too small for two, and other work may run on this machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def vqgan_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vqgan(tmp_path_factory.mktemp("models") / "vqgan")


@pytest.fixture(scope="session")
def clip(clip_dir: Path) -> Clip:
    return load_clip(f"dir:{clip_dir}")


@pytest.fixture(scope="session")
def vqgan(vqgan_dir: Path) -> VQGAN:
    return load_vqgan(f"dir:{vqgan_dir}")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "pictures", 10)


@pytest.fixture(scope="session")
def bench_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("data") / "bench", ("dog", "cat", "hot_air balloon"))


@pytest.fixture(scope="session")
def models(clip_dir: Path, vqgan_dir: Path, pictures: Path, bench_dir: Path) -> Models:
    return Models(clip_dir, vqgan_dir, pictures, bench_dir)
