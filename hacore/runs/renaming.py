"""Data in the words and answers of a model that was trained on other data."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import attrs
import numpy as np

from hacore.data import UNKNOWN, Dataset, Questions
from hacore.errors import RunError
from hacore.runs.data_summary import DataSummary


def same_names(dataset: Dataset[Any], summary: DataSummary) -> bool:
    """Whether the dataset's words and answers have the numbers that the model knows."""
    own = tuple(dataset.vocabulary), tuple(dataset.answers)
    return own == (summary.vocabulary, summary.answers)


def renamed(dataset: Dataset[Any], summary: DataSummary) -> Dataset[Any]:
    """A view of the dataset whose words and answers have the model's numbers, by name.

    Words that the model does not know are ``UNKNOWN``, and answers -1, which no prediction equals: they count
    as wrong.
    """
    word = np.array(summary.number(list(dataset.vocabulary)))
    answer = np.array([*_answers(dataset, summary), -1])  # index -1, an answer not known, stays -1
    original = dataset.questions

    @cache
    def questions(split: str) -> Questions:
        columns = original(split)
        accepted = columns.accepted
        return attrs.evolve(
            columns,
            words=word[columns.words],
            answer=answer[columns.answer],
            accepted=None if accepted is None else answer[accepted],
        )

    view = copy.copy(dataset)
    view.vocabulary, view.answers = summary.vocabulary, summary.answers
    view.questions = questions  # type: ignore[method-assign]
    return view


def require_size(dataset: Dataset[Any], summary: DataSummary) -> None:
    """RunError for images of another size than the model was trained on."""
    if tuple(dataset.image_size) != summary.image_size:
        here, there = ("x".join(map(str, size)) for size in (dataset.image_size, summary.image_size))
        raise RunError(
            f"the images of these data have the size {here}, the model was trained on {there}; choose "
            "data of that size, or where they have an option size, "
            f"--set data.size=[{summary.image_size[1]},{summary.image_size[2]}]"
        )


def unknown_names(dataset: Dataset[Any], summary: DataSummary) -> str:
    """How many of the data's words and answers the model does not know, in words."""
    words = summary.number(list(dataset.vocabulary[UNKNOWN + 1 :])).count(UNKNOWN)
    answers = _answers(dataset, summary).count(-1)
    return (
        f"{words:,} of {len(dataset.vocabulary) - UNKNOWN - 1:,} words and {answers:,} of "
        f"{len(dataset.answers):,} answers are unknown to the model; unknown answers count as wrong"
    )


def _answers(dataset: Dataset[Any], summary: DataSummary) -> list[int]:
    numbers = {name: number for number, name in enumerate(summary.answers)}
    return [numbers.get(name, -1) for name in dataset.answers]
