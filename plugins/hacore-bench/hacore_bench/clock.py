"""Time on a device. Marks are set between pieces of work, and read once the device has done all."""

from __future__ import annotations

import time
from typing import Any

import torch


class Clock:
    """Of a CPU, whose work is done when a call returns."""

    def mark(self) -> Any:
        """This moment in the device's work."""
        return time.perf_counter()

    def wait(self) -> None:
        """Until the device has done all that it was given; before this, marks cannot be read."""

    def seconds(self, start: Any, end: Any) -> float:
        """Between two marks."""
        return float(end - start)


class CudaClock(Clock):
    """Of a GPU: events in the stream of its work, so that nothing waits between two marks."""

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        torch.cuda.synchronize()

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end)) / 1e3


class WaitingClock(Clock):
    """Of any other device: it waits at every mark."""

    def mark(self) -> float:
        self.wait()
        return time.perf_counter()

    def wait(self) -> None:
        torch.accelerator.synchronize()


def clock_of(device: torch.device) -> Clock:
    """The clock of a device."""
    clocks = {"cpu": Clock, "cuda": CudaClock}
    return clocks.get(device.type, WaitingClock)()
