"""The words of many questions as numbers, one after the other."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


class Numbering(dict[str, int]):
    """Numbers of texts in the order of their first look-up: a new text is added."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


class WordColumn:
    """The words of questions as they are added, by their number in ``numbers``.

    code: type of a number, as ``array`` has it. OverflowError where one does not fit.
    """

    def __init__(self, numbers: Numbering, code: str = "i") -> None:
        self._numbers = numbers
        self._words, self._lengths = array(code), array("q")

    def add(self, words: Iterable[str]) -> None:
        """The words of the next question."""
        before = len(self._words)
        self._words.extend(map(self._numbers.__getitem__, words))
        self._lengths.append(len(self._words) - before)

    def columns(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Words (total,) and offsets (Q + 1,): words[offsets[q]:offsets[q + 1]] are those of question q."""
        return np.array(self._words), offsets_of(np.array(self._lengths))


def offsets_of(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(Q + 1,): where each of Q rows of these lengths begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
