"""What a step has to report, kept on the device until somebody looks: numbers that are not finite, and the
wish to stop.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOOK_EVERY = {"cpu": 1, "cuda": 10, "mps": 10}
"""Steps between looks, by device: a look may wait for it."""


class Flags:
    """values: first the number of wishes to stop, then, by step since the last look, what was not finite.

    Over several processes the values are added up.
    """

    def __init__(self, device: torch.device) -> None:
        self._every = LOOK_EVERY[device.type]
        self.values = torch.zeros(1 + self._every, device=device)

    def note(self, step: int, value: Tensor) -> None:
        """A number of step ``step`` (from 0), which has to be finite."""
        self.values[1 + step % self._every] += ~torch.isfinite(value)

    def wish(self, requested: bool) -> None:
        """Whether somebody wants the training to stop."""
        self.values[0] += requested

    def due(self, done: int) -> bool:
        """Whether it is time for a look after ``done`` steps."""
        return done % self._every == 0

    def read(self, done: int) -> tuple[bool, int | None]:
        """Whether to stop, and the first of the last steps (from 0) with a number that is not finite."""
        wishes, *not_finite = self.values.tolist()
        steps = range(max(0, done - self._every), done)
        first = next((step for step in steps if not_finite[step % self._every]), None)
        self.clear()
        return wishes > 0, first

    def clear(self) -> None:
        """Start again from nothing."""
        self.values.zero_()
