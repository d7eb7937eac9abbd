"""What every long piece of work needs: named random streams, a device, progress, and a way to stop well."""

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from promptstill.errors import Interrupted, UsageError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric
    from rich.progress import Progress

log = logging.getLogger("promptstill")
T = TypeVar("T")


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named use: image 17's draws are the same whatever else is drawn, and in what order."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> "torch.Generator":
    """A CPU generator seeded with :func:`stream_seed`."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, *names))


def make_fabric(device: str, precision: str = "32-true") -> "Fabric":
    """Lightning Fabric on one device of this machine.

    Raises:
        UsageError: the device is not on this machine.
    """
    import torch
    from lightning_fabric import Fabric

    here = {"cpu": True, "auto": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(device):
        usable = ", ".join(name for name, usable in here.items() if usable)
        raise UsageError(f"device {device!r} is not on this machine; choose one of {usable}")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    precision_plugin: Any = precision
    return Fabric(accelerator=device, devices=1, precision=precision_plugin)


class Stopper:
    """Turns the first SIGINT or SIGTERM into a request to stop; the second one ends the process at once."""

    def __init__(self) -> None:
        self._asked: str | None = None

    def check(self) -> None:
        """Raise :class:`Interrupted` if a stop was asked for. Call it where everything so far is on disk."""
        if self._asked:
            raise Interrupted(f"stopped by {self._asked}; the same command continues this run")

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number).name
        log.warning("%s: stopping at the next safe point", self._asked)
        with suppress(OSError):
            os.write(2, b"stopping at the next safe point; once more ends at once\n")  # a handler must not print

    @contextmanager
    def listening(self) -> Generator["Stopper"]:
        """Handle the signals inside the block (on the main thread; elsewhere signals cannot be caught)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Generator["Ticker"]:
    """A bar with rate and time left on a terminal; silent elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=done, rate="")
        yield Ticker(bar, int(task))


def ahead(items: Iterable[T], count: int = 2) -> Generator[T]:
    """Go through ``items``, made by a thread of its own that is up to ``count`` items ahead."""
    from concurrent.futures import Future, ThreadPoolExecutor

    made, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        queue: list[Future[Any]] = [thread.submit(next, made, end) for _ in range(count)]
        while (item := queue.pop(0).result()) is not end:
            queue.append(thread.submit(next, made, end))
            yield item


def tracked(description: str, items: Iterable[T]) -> Generator[T]:
    """Go through sized ``items`` with a bar."""
    listed = list(items)
    with progress(description, len(listed)) as ticker:
        for item in listed:
            yield item
            ticker.advance()


class Ticker:
    """Moves a progress bar."""

    def __init__(self, bar: "Progress", task: int) -> None:
        self._bar, self._task = bar, task

    def advance(self, count: int = 1) -> None:
        """Count ``count`` items as done and show the rate."""
        task = self._bar.tasks[self._task]
        speed = task.speed
        self._bar.update(task.id, advance=count, rate=f"{speed:.1f}/s" if speed else "")
