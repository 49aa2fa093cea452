"""A stream of random choices that is the same in every version of Python and NumPy."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
BUFFERED = 512


class Stream:
    """Random choices for one block of images of a split.

    Raw 64-bit numbers of PCG64, which NumPy keeps the same in every version; its distributions and
    Python's ``random.shuffle`` may change.
    """

    def __init__(self, seed: int, split: str, block: int) -> None:
        key = (zlib.crc32(f"questions/{split}".encode()), block)
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
        self._raw: list[int] = []

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit - 1``, all as likely as 64 bits allow."""
        if not self._raw:
            self._raw = self._bits.random_raw(BUFFERED).tolist()
        return self._raw.pop() * limit >> 64

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def shuffle(self, options: list[T]) -> None:
        """Put the options into a random order."""
        for last in range(len(options) - 1, 0, -1):
            other = self.below(last + 1)
            options[last], options[other] = options[other], options[last]
