"""The types of questions, by which accuracy is told: the table's own, or the first words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hacore_folder.pack import Content, Stored

OTHER = "other"
"""The type of the questions that have no other."""
MOST = 12
"""First words that are types; rarer ones are ``OTHER``."""


def question_types(
    pack: Content, stored: Stored, train_Q: npt.NDArray[np.bool_]
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The names of the types, and (Q,) the type of each question.

    Where the table names no type at all, "what" and "is" are types: the most frequent first words of the
    training questions, which ``train_Q`` (Q,) marks.
    """
    numbers, names = stored.type.astype(np.int64), pack.types
    if not names:
        first_Q = stored.words[stored.offsets[:-1]]
        counts = np.bincount(first_Q[train_Q], minlength=len(pack.words))
        ranked = sorted(np.flatnonzero(counts).tolist(), key=lambda word: (-counts[word], pack.words[word]))
        ranked = ranked[:MOST]
        names = tuple(pack.words[word] for word in ranked)
        type_of_word = np.full(len(pack.words), -1, np.int64)
        type_of_word[ranked] = np.arange(len(ranked))
        numbers = type_of_word[first_Q]
    if not (numbers < 0).any():
        return names, numbers
    names = names if OTHER in names else (*names, OTHER)
    return names, np.where(numbers < 0, names.index(OTHER), numbers)
