"""SIGTERM, SIGINT -> a training that ends with a checkpoint, or a process that ends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn


HEEDED = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What the process was asked. In a training the first signal is a question that
    `asked` answers; elsewhere, and at the second one, the process ends at once. Its status
    is 128 and the signal's number, as shells have it: 143 for SIGTERM.

    - `command`: what goes on with the run, once there is one.
    """

    def __init__(self):
        self.command: str | None = None
        # The number of the signal that a training has yet to heed.
        self._pending: int | None = None
        self._training = False

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Heeds signals, but for those that are ignored, as of a job in the background."""
        before, self.command = {}, None
        # Elsewhere Python lets nobody decide.
        if threading.current_thread() is threading.main_thread():
            for number in HEEDED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, self._heed)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def training(self) -> Iterator[Callable[[], bool]]:
        """Gives `asked`, for `warp_jax.fit` as its `stop`. The process ends as the training
        does, where it was asked to.
        """
        self._training = True
        try:
            yield lambda: self._pending is not None
        finally:
            self._training = False
            pending, self._pending = self._pending, None
            if pending is not None:
                self._end(pending)

    def _heed(self, number: int, _) -> None:
        if not self._training or self._pending is not None:
            self._end(number)
        self._pending = number
        _say(f"{_name(number)}: stops after this step; once more stops now.")

    def _end(self, number: int) -> NoReturn:
        if self.command is None:
            _say(f"Stopped by {_name(number)}.")
        else:
            _say(f"Stopped by {_name(number)}. Go on with `{self.command}`.")
        raise SystemExit(128 + number)


def _name(number: int) -> str:
    return signal.Signals(number).name


def _say(line: str) -> None:
    # Not by `print`, which may be what was interrupted.
    os.write(2, f"\n{line}\n".encode())


SIGNALS = Signals()
