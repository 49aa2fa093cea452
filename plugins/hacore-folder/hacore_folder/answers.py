"""The answers that a model chooses among: the most frequent ones of the training questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]


def choose_answers(texts: Sequence[str], given_QS: Ints, most: int) -> tuple[tuple[str, ...], Ints]:
    """The answers, the most frequent first, ties in alphabetical order; and (texts,) which one each text is.

    texts: all that are given as answers; those that differ in case alone are one answer, called as it is
    written most often. given_QS: numbers of the texts that are right for each training question, -1 for none.
    most: the most answers, 0 for no limit. No question is given an answer twice.
    Texts that are not among the answers have -1.
    """
    counts = np.bincount(given_QS[given_QS >= 0], minlength=len(texts))
    spellings: dict[str, list[int]] = {}
    for text in np.flatnonzero(counts).tolist():
        spellings.setdefault(texts[text].casefold(), []).append(text)
    ranked = []
    for folded, numbers in spellings.items():
        name = min(numbers, key=lambda number: (-counts[number], texts[number]))
        ranked.append((-int(counts[numbers].sum()), texts[name], folded))
    ranked.sort()
    chosen = ranked[: most or None]
    number_of = {folded: number for number, (_, _, folded) in enumerate(chosen)}
    numbers_of_texts = np.array([number_of.get(text.casefold(), -1) for text in texts], np.int32)
    return tuple(name for _, name, _ in chosen), numbers_of_texts


def accepted_answers(given_QS: Ints, number_of_text: Ints) -> Ints:
    """(Q, S): the answers that are right for each question, the first given first, then -1 for none."""
    accepted_QS = np.where(given_QS < 0, -1, number_of_text[given_QS]).astype(np.int32)
    # A stable sort by absence keeps the order of those that are there.
    order = np.argsort(accepted_QS < 0, axis=1, kind="stable")
    return np.take_along_axis(accepted_QS, order, axis=1)
