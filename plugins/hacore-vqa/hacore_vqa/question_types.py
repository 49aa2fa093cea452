"""Question types as scores are kept by them.

The official report has two tables: by answer type and by question type. A question has one type here, so it
is the pair, called "what color is (other)", and the groups are the answer types. ``hacore score vqa`` gives
both official tables. A question without annotations is "unknown".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from hacore_vqa.pack import Stored, Texts

UNKNOWN_TYPE = "unknown"
TypeOf = Callable[[Stored], npt.NDArray[np.int64]]


def question_types(
    texts: Texts, splits: Iterable[Stored]
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], TypeOf]:
    """Names of the types, the groups, and a function that gives (Q,) the type of each question."""
    splits = list(splits)
    width = len(texts.answer_types) + 1

    def code(stored: Stored) -> npt.NDArray[np.int64]:
        pair = stored.question_type.astype(np.int64) * width + stored.answer_type
        return np.where(stored.question_type < 0, -1, pair)

    codes = np.unique(np.concatenate([code(split) for split in splits]))
    pairs = [(int(value) // width, int(value) % width) for value in codes if value >= 0]
    unknown = bool(len(codes) and codes[0] < 0)
    known = {pair: f"{texts.question_types[pair[0]]} ({texts.answer_types[pair[1]]})" for pair in pairs}
    names = sorted(known.values()) + [UNKNOWN_TYPE] * unknown
    groups = {
        name: tuple(sorted(known[pair] for pair in pairs if pair[1] == number))
        for number, name in sorted(enumerate(texts.answer_types), key=lambda entry: entry[1])
    }
    row_of = np.array([names.index(known[pair]) for pair in pairs], np.int64)

    def type_of(stored: Stored) -> npt.NDArray[np.int64]:
        pair_codes = code(stored)
        rows = np.full(len(pair_codes), len(names) - 1, np.int64)
        rows[pair_codes >= 0] = row_of[np.searchsorted(codes[codes >= 0], pair_codes[pair_codes >= 0])]
        return rows

    return tuple(names), groups, type_of
