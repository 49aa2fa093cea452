"""How fast this machine multiplies matrices."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from hacore_bench.clock import Clock

_SIDES = (512, 1024, 2048, 4096, 8192)
_GAIN, _LONGEST = 1.05, 0.25  # a larger one is not worth it; seconds


class MatrixProduct:
    """A product of two square matrices, as large as it takes to be at full speed.

    side: rows and columns. Uses the type of numbers, the device and the threads that the model has.
    """

    def __init__(self, precision: torch.dtype, device: torch.device, clock: Clock) -> None:
        self._clock = clock
        best = 0.0
        for side in _SIDES:
            pair = [torch.randn(side, side, device=device).to(precision) for _ in range(2)]
            seconds = statistics.median([self._product(pair) for _ in range(4)][1:])
            speed = side**3 / max(seconds, 1e-9)
            gain, best = speed / max(best, 1e-9), max(best, speed)
            if speed == best:
                self.side, self._pair = side, pair
            if gain < _GAIN or seconds > _LONGEST:
                break

    def seconds(self) -> float:
        """Of one product."""
        return self._product(self._pair)

    def speed(self, seconds: float) -> float:
        """Multiply-adds a second, where a product takes so many seconds."""
        return self.side**3 / max(seconds, 1e-9)

    def _product(self, pair: list[Tensor]) -> float:
        self._clock.wait()
        start = self._clock.mark()
        torch.mm(*pair)
        end = self._clock.mark()
        self._clock.wait()
        return self._clock.seconds(start, end)
