"""A validation split from the training questions of VQA-CP v2, which has none.

By ``group``, questions of one type with the same most frequent answer stay together, as they did when VQA-CP
was made: the frequent answers to a type differ between training and validation, as they do between training
and test, so that a choice by validation accuracy is a choice for changed priors. No answer leaves
training altogether: the last of its groups stays. By ``image``, all questions about a photograph stay
together, and priors are the same on both sides.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from hacore_vqa.pack import Stored, Texts


def carve(stored: Stored, texts: Texts, *, share: float, by: str, seed: int) -> npt.NDArray[np.bool_]:
    """(Q,) which training questions are validation questions, at most ``share`` of them.

    Groups are taken whole while they fit. Their order is drawn by the seed and depends only on their names.
    """
    if by == "image":
        keys, names = stored.image, None
    else:
        normal = np.array(texts.normal, np.int64)[stored.chosen]
        keys, names = stored.question_type * np.int64(len(texts.answers)) + normal, texts
    groups, group_of, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    order = sorted(range(len(groups)), key=lambda place: _draw(seed, _name(int(groups[place]), names)))
    answers = groups % len(texts.answers) if names else groups
    left = dict(zip(*(column.tolist() for column in np.unique(answers, return_counts=True)), strict=True))
    room, taken = round(share * len(stored)), np.zeros(len(groups), bool)
    for place in order:
        answer = int(answers[place])
        if sizes[place] <= room and (names is None or left[answer] > 1):
            taken[place] = True
            room -= int(sizes[place])
            left[answer] -= 1
    carved: npt.NDArray[np.bool_] = taken[group_of.reshape(-1)]
    return carved


def _name(group: int, texts: Texts | None) -> str:
    if texts is None:
        return str(group)
    return f"{texts.question_types[group // len(texts.answers)]}\n{texts.answers[group % len(texts.answers)]}"


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\n{name}".encode(), digest_size=8).digest()
