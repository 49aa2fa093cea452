"""SIGTERM, Ctrl-C and the end of the terminal, taken as a request to stop after the current step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from hacore.machine.processes import launched

_HANGUP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # not on Windows


class Interrupts:
    """While open, the first SIGTERM or Ctrl-C sets ``requested``; a second Ctrl-C stops at once.

    SIGHUP, which a terminal sends when it is closed, counts as SIGTERM, unless it is ignored, as under nohup.
    Not under torchrun: it forwards Ctrl-C to processes that the terminal has sent it to already.
    terminate: called at each SIGTERM, which child processes do not get, as they do a terminal's Ctrl-C.
    """

    def __init__(self, terminate: Callable[[], None] = lambda: None) -> None:
        self.requested = False
        self._terminate = terminate
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        # Only the main thread may set handlers; elsewhere (a notebook's worker) signals stay as they are.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, *_HANGUP):
                if number not in _HANGUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT and not launched():
            raise KeyboardInterrupt
        self.requested = True
        if number != signal.SIGINT:
            self._terminate()
