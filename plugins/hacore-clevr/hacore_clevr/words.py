"""Questions to words, and words to numbers.

A question becomes lower case, its accents composed (NFC); ``?`` and ``.`` are dropped, as every question ends
with one of them; ``,`` and ``;`` are words of their own, as they separate a statement from the question about
it; the rest is split at white space. No question is ever cut. The vocabulary holds the words of the training
questions in alphabetical order, after ``<pad>`` and ``<unk>``; other words are ``<unk>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from hacore.machine.texts import composed

PAD, UNK = "<pad>", "<unk>"
UNKNOWN = 1
"""The number of ``<unk>``, as in ``hacore.data``."""
WORD_RULE = {"normalize": "NFC", "replace": {}, "pattern": r"[,;]|[^\s?.,;]+", "empty": []}
"""``split_words`` as data, see ``hacore.data.Dataset``."""


def split_words(question: str) -> list[str]:
    """The words of a question; none if there are only dropped marks and white space."""
    text = composed(question.lower())
    text = text.replace("?", " ").replace(".", " ").replace(",", " , ").replace(";", " ; ")
    return text.split()


def build_vocabulary(words: Iterable[str]) -> tuple[str, ...]:
    """``<pad>``, ``<unk>``, then the different words in alphabetical order."""
    return (PAD, UNK, *sorted(set(words) - {PAD, UNK}))


def renumber(words: Iterable[str], index: Mapping[str, int]) -> npt.NDArray[np.uint16]:
    """(W,) number of each word in a vocabulary given as {word: number}, ``UNKNOWN`` where it is not there."""
    return np.array([index.get(word, UNKNOWN) for word in words], np.uint16)
