"""The answers that a model chooses among, and what each of them scores by the official metric.

Answers are counted as the metric compares them: texts with the same normal form are one answer. Its name,
which is also what is submitted, is the most frequent of its texts, unchanged: where the ten people agree, the
metric compares unchanged texts, so that "none" is right and its normal form "0" is wrong. For the same reason
answers are not brought to NFC, as questions are: to the metric, other bytes are another answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from hacore_vqa.metric import agreement
from hacore_vqa.pack import Stored, Texts
from hacore_vqa.records import PEOPLE


@attrs.frozen(kw_only=True, eq=False)
class AnswerSet:
    """answers: A texts. exact, alike: (texts,) int32, the answer that a text is, or has the normal form of.

    -1 for a text that is not among the answers.
    """

    answers: tuple[str, ...]
    exact: npt.NDArray[np.int32]
    alike: npt.NDArray[np.int32]

    def wanted(self, stored: Stored) -> npt.NDArray[np.int64]:
        """(Q,) the answer with the normal form of each question's most frequent one; -1 if there is none."""
        return np.where(stored.chosen < 0, -1, self.alike[stored.chosen]).astype(np.int64)

    def accepted(self, stored: Stored) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """(Q, 10) answers that score something, -1 for none, and (Q, 10) their official scores in [0, 1]."""
        same = (stored.given == stored.given[:, :1]).all(1)
        answer = np.where(same[:, None], self.exact[stored.given], self.alike[stored.given])
        counts, first = np.zeros(answer.shape, np.int8), np.ones(answer.shape, bool)
        for column in range(PEOPLE):
            equal = answer == answer[:, column : column + 1]
            counts += equal
            first[:, column + 1 :] &= ~equal[:, column + 1 :]
        answer = np.where(first, answer, -1).astype(np.int32)
        scores = np.array([agreement(count) if count else 0.0 for count in range(PEOPLE + 1)], np.float32)
        return answer, np.where(answer < 0, 0, scores[counts]).astype(np.float32)


def choose_answers(texts: Texts, chosen: Sequence[npt.NDArray[np.int32]], most: int, least: int) -> AnswerSet:
    """The answers to choose among, the most frequent first, ties in alphabetical order.

    chosen: numbers of the most frequent answers of the questions that are counted. most: the most
    answers, 0 for no limit. least: the fewest questions that an answer must be given to.
    """
    counts = np.bincount(np.concatenate(chosen), minlength=len(texts.answers))
    normal = np.array(texts.normal, np.int64)
    totals = np.zeros(len(normal), np.int64)
    np.add.at(totals, normal, counts)
    called: dict[int, tuple[int, str, int]] = {}  # by normal form: the most frequent text
    for text in np.flatnonzero(counts).tolist():
        form, candidate = int(normal[text]), (-int(counts[text]), texts.answers[text], text)
        if texts.answers[text]:  # an empty text is not an answer
            called[form] = min(called.get(form, candidate), candidate)
    frequent = [
        (-int(totals[form]), entry[1], form, entry[2])
        for form, entry in called.items()
        if totals[form] >= least
    ]
    frequent.sort()
    frequent = frequent[: most or None]
    exact, of_form = np.full(len(normal), -1, np.int32), np.full(len(normal), -1, np.int32)
    for answer, (_, _, form, text) in enumerate(frequent):
        exact[text] = of_form[form] = answer
    return AnswerSet(answers=tuple(entry[1] for entry in frequent), exact=exact, alike=of_form[normal])
