"""WUPS, the measure of DAQUAR that lets a near answer count. Imports no torch.

Malinowski and Fritz 2014 (arXiv 1410.0210), equation 5, as the authors' program calculate_wups computes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from hacore_daquar.wordnet import Nouns

FAR = 0.1
"""What a similarity below the threshold is multiplied by."""
THRESHOLDS = (0.9, 0.0)
"""Those that are published."""


class Wups:
    """Scores of answers; similarities are kept, as few words make many answers."""

    def __init__(self, nouns: Nouns) -> None:
        self._nouns = nouns
        self._similarity = cache(self._similarity_of)

    def score(self, predicted: Sequence[str], right: Sequence[str], threshold: float) -> float:
        """In [0, 1]: of two sets of answers, each a word, or words with ``_`` between them.

        The product over the answers of one set of the similarity to the nearest of the other, for both sets;
        the lower of the two. A similarity below the threshold counts a tenth.
        """
        return min(self._all_near(predicted, right, threshold), self._all_near(right, predicted, threshold))

    def _all_near(self, words: Sequence[str], others: Sequence[str], threshold: float) -> float:
        return math.prod(max(self.near(word, other, threshold) for other in others) for word in words)

    def near(self, one: str, other: str, threshold: float) -> float:
        """In [0, 1]: of two words, by their most similar senses; 0 where one is no noun of WordNet."""
        similarity = self._similarity(one, other)
        return similarity if similarity >= threshold else FAR * similarity

    def known(self, word: str) -> bool:
        """Whether WordNet has it as a noun."""
        return bool(self._nouns.senses(word))

    def _similarity_of(self, one: str, other: str) -> float:
        if one == other:
            return 1.0
        pairs = ((x, y) for x in self._nouns.senses(one) for y in self._nouns.senses(other))
        return max((self._nouns.similarity(x, y) for x, y in pairs), default=0.0)


def wups(predictions: Sequence[str], answers: Sequence[str], threshold: float, measure: Wups) -> float:
    """The mean over questions, in [0, 1]; several answers to one question are joined by commas."""
    scores = [
        measure.score(split_answers(prediction), split_answers(answer), threshold)
        for prediction, answer in zip(predictions, answers, strict=True)
    ]
    return math.fsum(scores) / len(scores)


def split_answers(text: str) -> list[str]:
    """The answers to a question, each once."""
    return [*dict.fromkeys(word.strip() for word in text.split(","))]
