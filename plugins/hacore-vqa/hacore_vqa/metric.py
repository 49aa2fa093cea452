"""The VQA accuracy of the official evaluation (Antol et al. 2015, Goyal et al. 2017). Imports no torch.

An answer scores min(1, n / 3) against each of the ten annotators, where n is how many of the *others*
gave the same answer; its score is the mean of the ten. Two forms of the metric differ in which answers are
the same. ``current``, official since March 2021, strips the answers and brings all of them, the scored one
too, to their normal form, unless the ten are the same. ``legacy``, behind many published numbers, always
brings the scored one to its normal form and only removes punctuation from the ten, unless they are the same.

Quirks of the official code are kept, because published numbers depend on them: at most 32 full stops are
removed, contractions are looked up after lower-casing, so that those with a capital in the table never
match, and two annotators whose entries are identical count as one: without ``answer_id`` an answer of all ten
scores nothing. Texts are compared as they are encoded: an answer with composed accents (NFC) is not the same
with accents apart (NFD), as macOS may write them. ``hacore score`` warns of both.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import attrs

_TABLES = json.loads(files("hacore_vqa").joinpath("metric_tables.json").read_text(encoding="utf-8"))
ARTICLES = frozenset(_TABLES["articles"])
CONTRACTIONS: Mapping[str, str] = _TABLES["contractions"]
NUMBER_WORDS: Mapping[str, str] = _TABLES["number_words"]
PUNCTUATION: tuple[str, ...] = tuple(_TABLES["punctuation"])

_ANY_MARK = re.compile("[" + re.escape("".join(PUNCTUATION)) + ".]")
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_FULL_STOPS = 32
PLACES = 2
"""Decimals of reported percentages."""


@attrs.frozen(kw_only=True)
class Truth:
    """What ten people answered to a question.

    answers: their answers as they gave them. people: for each answer a value that tells people
    apart (the official files have ``answer_id`` and ``answer_confidence``); by default every entry is
    another person's. question_type, answer_type: as the official annotations name them.
    """

    answers: Sequence[str]
    people: Sequence[Hashable] | None = None
    question_type: str = ""
    answer_type: str = ""


@attrs.frozen(kw_only=True)
class Report:
    """Percentages, rounded to ``PLACES`` decimals.

    per_question: {question: percentage}. per_answer_type, per_question_type: of the types that occur, in
    the order of their first question.
    """

    overall: float
    per_answer_type: dict[str, float]
    per_question_type: dict[str, float]
    per_question: dict[int, float]

    def table(self) -> dict[str, Any]:
        """The official tool's result, under its names."""
        return {
            "overall": self.overall,
            "perAnswerType": self.per_answer_type,
            "perQuestionType": self.per_question_type,
        }


def strip(answer: str) -> str:
    """The answer with line ends and tabs as spaces, stripped."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def without_punctuation(answer: str) -> str:
    """The answer without its marks.

    A mark is deleted where it stands next to a space somewhere in the answer, or the answer has a comma
    between digits; otherwise it becomes a space. The first 32 full stops that no digit follows are deleted.
    """
    if not _ANY_MARK.search(answer):
        return answer
    text = answer
    number = _COMMA_IN_NUMBER.search(answer) is not None
    for mark in PUNCTUATION:
        if mark in answer:
            at_space = f"{mark} " in answer or f" {mark}" in answer
            text = text.replace(mark, "" if at_space or number else " ")
    return _FULL_STOP.sub("", text, count=_FULL_STOPS)


def without_articles(answer: str) -> str:
    """The answer in lower case, number words as digits, without articles, contractions restored."""
    words = [NUMBER_WORDS.get(word, word) for word in answer.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


@functools.lru_cache(maxsize=1 << 18)
def normal(answer: str) -> str:
    """A stripped answer after both steps, as the current form compares it."""
    return without_articles(without_punctuation(answer))


def agreement(matches: int, people: int = 10) -> float:
    """Accuracy of an answer that ``matches`` of ``people`` different people gave."""
    return _mean_agreement([True] * matches + [False] * (people - matches))


def accuracy(truth: Truth, answer: str, *, legacy: bool = False) -> float:
    """Accuracy in [0, 1] of an answer to a question. ValueError when nobody answered it."""
    if not truth.answers:
        raise ValueError("the question has no answers to compare with")
    if legacy:
        given, answer = list(truth.answers), normal(strip(answer))
        if len(set(given)) > 1:
            given = [without_punctuation(text) for text in given]
    else:
        given, answer = [strip(text) for text in truth.answers], strip(answer)
        if len(set(given)) > 1:
            given, answer = [normal(text) for text in given], normal(answer)
    people = truth.people
    if people is None or len(set(people)) == len(people):
        return _mean_agreement([text == answer for text in given])
    entries = list(zip(given, people, strict=True))
    # Equal entries count as one person and are left out together.
    others = (sum(entry != me and entry[0] == answer for entry in entries) for me in entries)
    return float(sum(min(1, float(count) / 3) for count in others)) / len(entries)


class Tally:
    """Scores questions one after another; sums are taken in this order."""

    def __init__(self, *, legacy: bool = False) -> None:
        self._legacy = legacy
        self._scores: dict[int, float] = {}
        self._by_answer: dict[str, list[float]] = {}
        self._by_question: dict[str, list[float]] = {}

    def add(self, question: int, truth: Truth, answer: str) -> None:
        """Adds a question that was not added before."""
        score = self._scores[question] = accuracy(truth, answer, legacy=self._legacy)
        self._by_answer.setdefault(truth.answer_type, []).append(score)
        self._by_question.setdefault(truth.question_type, []).append(score)

    def report(self) -> Report:
        """The scores so far. ValueError when there are none."""
        if not self._scores:
            raise ValueError("there are no questions to score")
        return Report(
            overall=_percent(list(self._scores.values())),
            per_answer_type={name: _percent(scores) for name, scores in self._by_answer.items()},
            per_question_type={name: _percent(scores) for name, scores in self._by_question.items()},
            per_question={question: round(100 * score, PLACES) for question, score in self._scores.items()},
        )


def evaluate(truths: Mapping[int, Truth], answers: Mapping[int, str], *, legacy: bool = False) -> Report:
    """Scores an answer to each question.

    truths: {question: truth}. KeyError unless each has an answer, ValueError without any question.
    """
    tally = Tally(legacy=legacy)
    for question, truth in truths.items():
        tally.add(question, truth, answers[question])
    return tally.report()


def _mean_agreement(same: list[bool]) -> float:
    """Accuracy of an answer; same: whether each of these different people gave it, summed in order."""
    matches = sum(same)
    mine, others = min(1, float(matches - 1) / 3), min(1, float(matches) / 3)
    return float(sum([mine if agrees else others for agrees in same])) / len(same)


def _percent(scores: list[float]) -> float:
    """The mean as the official code rounds it: the order of the operations decides ties."""
    return round(100 * float(sum(scores)) / len(scores), PLACES)
