"""What each step reports without waiting for the device: numbers that are not finite, requests to stop."""

from __future__ import annotations

import torch
from torch import Tensor

READ_EVERY = {"cpu": 1, "cuda": 10, "mps": 10}
"""Steps between readings, by device: a reading may wait for it."""


class Flags:
    """values: the number of requests to stop, then, by step since the last reading, what was not finite.

    Over several processes the values are added up.
    """

    def __init__(self, device: torch.device) -> None:
        self._every = READ_EVERY[device.type]
        self.values = torch.zeros(1 + self._every, device=device)

    def check_finite(self, step: int, value: Tensor) -> None:
        """Note whether a number of step ``step`` (from 0) is finite."""
        self.values[1 + step % self._every] += ~torch.isfinite(value)

    def request_stop(self, requested: bool) -> None:
        """Note whether this process was asked to stop."""
        self.values[0] += requested

    def due(self, done: int) -> bool:
        """Whether to read the flags after ``done`` steps."""
        return done % self._every == 0

    def read(self, done: int) -> tuple[bool, int | None]:
        """Whether to stop, and the first of the last steps (from 0) with a number that is not finite."""
        requests, *not_finite = self.values.tolist()
        steps = range(max(0, done - self._every), done)
        first = next((step for step in steps if not_finite[step % self._every]), None)
        self.clear()
        return requests > 0, first

    def clear(self) -> None:
        """Start again from nothing."""
        self.values.zero_()
