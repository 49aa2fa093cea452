"""The scores in predictions files as arrays, and their sums over the questions of each image.

Letters of shapes: Q questions, I images, S seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import HacoreError, RunError
from hacore.machine.commands import pasteable
from hacore.machine.records import FORMAT
from hacore.machine.texts import open_text
from hacore_report.predictions import read_predictions

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Line = tuple[int, int, str, float | None]
"""Of a predictions file: id, image and type of the question, and the score."""
_KINDS = {(int, int, str, kind) for kind in (float, int, type(None))}


@attrs.frozen(kw_only=True, eq=False)
class Scores:
    """What one run scored. source: its predictions file. All arrays are (Q,), in the order of the ids.

    types: names of question types; type_Q: indices into them.
    """

    source: Path
    id_Q: npt.NDArray[Any]
    image_Q: Ints
    type_Q: Ints
    types: tuple[str, ...]
    score_Q: Floats

    @classmethod
    def of(cls, lines: Iterable[Line], source: Path) -> Scores:
        """Those of the lines of a file, in any order.

        A question without a score, whose right answer is not among the answers, is wrong; result.json counts
        it so too. Raises HacoreError where no question has a score, or where a question occurs twice.
        """
        ids, images, names, scores = zip(*lines, strict=True)
        if all(score is None for score in scores):
            raise HacoreError(
                f"{source}: has no scores, as the answers of this split are not public; compare on another "
                "split with --split, after 'hacore eval RUN --split SPLIT'"
            )
        id_Q, score_Q = _id_column(ids), np.array([score or 0.0 for score in scores])
        order = np.argsort(id_Q, kind="stable")
        way_out = "write it again with 'hacore eval'"
        if (repeated := np.flatnonzero(np.diff(id_Q[order]) == 0)).size:
            raise RunError(f"{source}: has question {id_Q[order][repeated[0]]} twice; {way_out}")
        if (outside := np.flatnonzero(~((score_Q >= 0) & (score_Q <= 1)))).size:
            number, score = id_Q[outside[0]], score_Q[outside[0]]
            raise RunError(f"{source}: question {number} has score {score}, not one in [0, 1]; {way_out}")
        types = sorted(set(names))
        place = {name: number for number, name in enumerate(types)}
        return cls(
            source=source,
            id_Q=id_Q[order],
            image_Q=np.array(images, np.int64)[order],
            type_Q=np.array([place[name] for name in names], np.int64)[order],
            types=tuple(types),
            score_Q=score_Q[order],
        )

    def require_same_questions(self, other: Scores) -> None:
        """Raise HacoreError, naming a question, unless the other run was asked the same."""
        unshared = np.setxor1d(self.id_Q, other.id_Q)
        if unshared.size:
            number = int(unshared[0])
            has, lacks = (self, other) if number in self.id_Q else (other, self)
            what = f"question {number}, one of {unshared.size}, is in {has.source} and not in {lacks.source}"
        else:
            names, others = np.array(self.types)[self.type_Q], np.array(other.types)[other.type_Q]
            differ = (self.image_Q != other.image_Q) | (names != others)
            if not differ.any():
                return
            number = int(self.id_Q[differ.argmax()])
            what = f"question {number} has another image or type in {self.source} than in {other.source}"
        raise HacoreError(f"{what}; only runs on the same questions are compared: measure with 'hacore eval'")


def read_scores(path: Path) -> Scores:
    """Those of a file of predictions. Raises RunError where its predictions are missing or damaged.

    Of each line only what is needed is parsed, which takes a fifth of the time of ``read_predictions`` for
    ten kept cells a question, and an eighth for thirty with weights.
    """
    try:
        with open_text(path) as file:
            lines = [_line(text) for text in file]
    except FileNotFoundError:
        command = pasteable("hacore", "eval", path.parent.parent, "--split", path.stem)
        raise RunError(f"{path}: missing; write it with: {command}") from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        lines = []
    if not lines:  # empty or damaged: this says what is wrong with it
        lines = [(line.id, line.image, line.type, line.score) for line in read_predictions(path)]
    return Scores.of(lines, path)


def image_sums(
    sides: Sequence[Sequence[Scores]], types: Sequence[str] | None = None
) -> tuple[list[Floats], Ints]:
    """[(S, I) sums of the scores of each side, a row for each run] and (I,) numbers of questions.

    All on the same questions. types: only questions of these; the images are those that have some.
    """
    first = sides[0][0]
    chosen_Q = np.ones(len(first.id_Q), bool)
    if types is not None:
        chosen_Q = np.isin(first.type_Q, [first.types.index(name) for name in types if name in first.types])
    _, place_Q, questions_I = np.unique(first.image_Q[chosen_Q], return_inverse=True, return_counts=True)
    place_Q = place_Q.ravel()
    sums: list[Floats] = [
        np.array([np.bincount(place_Q, scores.score_Q[chosen_Q], len(questions_I)) for scores in side])
        for side in sides
    ]
    return sums, questions_I.astype(np.int64)


def _line(text: str) -> Line:
    """Raises ValueError, LookupError or TypeError for what is not a line of predictions."""
    # Cells and weights, most of a line, are cut out. Inside of a string the quote would be escaped.
    start, end = text.find(', "cells": '), text.rfind(', "format": ')
    table = json.loads(text[:start] + text[end:] if 0 < start < end else text)
    number, image, name, score = table["id"], table["image"], table["type"], table["score"]
    kinds = (type(number), type(image), type(name), type(score))
    known = kinds in _KINDS and table.get("format", FORMAT) == FORMAT
    if not known or max(abs(number), abs(image)) >= 2**63 or not 0 <= (score or 0) <= 1:
        raise ValueError("not a line of predictions")
    return number, image, name, score


def _id_column(ids: Sequence[int]) -> npt.NDArray[Any]:
    """(Q,) int64; Python's integers, dtype object, where one does not fit."""
    try:
        return np.array(ids, np.int64)
    except OverflowError:
        return np.array(ids, object)
