"""What a run's predictions add up to: intervals, confusions, and how many cells were kept."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean

import attrs

from hacore.measure.predictions import Prediction
from hacore.runs import Result


def wilson(right: float, questions: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a share, at 95%; unlike p +- z s it stays in [0, 1] and has a width at 0 and 1.

    Exact for scores of 0 and 1. For scores in between, as VQA's, it is never too narrow, as their variance
    is smaller. Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    share, z2 = right / questions, z * z
    centre = (share + z2 / (2 * questions)) / (1 + z2 / questions)
    half = z / (1 + z2 / questions) * math.sqrt(share * (1 - share) / questions + z2 / (4 * questions**2))
    # Rounding must not separate a bound from the share that it equals.
    low = max(0.0, centre - half) if right > 0 else 0.0
    return low, min(1.0, centre + half) if right < questions else 1.0


@attrs.frozen(kw_only=True)
class Row:
    """Accuracy of one type of question. low, high: its interval; None where answers are not public."""

    name: str
    questions: int
    accuracy: float | None
    low: float | None
    high: float | None
    kept: float
    """Mean number of cells."""


def by_type(predictions: Sequence[Prediction]) -> list[Row]:
    """A row for each type of question, by name, and a last one for all."""
    parts: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        parts[prediction.type].append(prediction)
    return [_row(name, parts[name]) for name in sorted(parts)] + [_row("all", predictions)]


def _row(name: str, predictions: Sequence[Prediction]) -> Row:
    scores = [prediction.score for prediction in predictions if prediction.score is not None]
    low, high = wilson(sum(scores), len(scores)) if scores else (None, None)
    return Row(
        name=name,
        questions=len(predictions),
        accuracy=fmean(scores) if scores else None,
        low=low,
        high=high,
        kept=fmean(prediction.kept for prediction in predictions),
    )


@attrs.frozen(kw_only=True)
class Compared:
    """A run of a comparison. types: its rows by type of question, the last one of all questions.

    marked: the rows where it is the best run, or not significantly different from it. remarks: see ``Run``.
    """

    name: str
    result: Result
    types: dict[str, Row]
    marked: frozenset[str]
    remarks: tuple[str, ...]

    @property
    def all(self) -> Row:
        """Over all questions."""
        return self.types["all"]


@attrs.frozen(kw_only=True)
class Confusion:
    """counts[i][j]: questions with right answer labels[i] that were answered labels[j].

    The last label may be ``OTHER``, which stands for all answers that are not named.
    """

    OTHER = "other answers"

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion(predictions: Sequence[Prediction], most: int = 30) -> Confusion | None:
    """Of the answers that are most frequent, right or given; None where no right answer is known."""
    pairs = [(line.answer, line.prediction) for line in predictions if line.answer is not None]
    if not pairs:
        return None
    frequency = Counter(answer for pair in pairs for answer in pair)
    labels = sorted(
        (answer for answer, _ in frequency.most_common(most)), key=lambda answer: (-frequency[answer], answer)
    )
    if len(frequency) > most:
        labels.append(Confusion.OTHER)
    place = {label: number for number, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for right, given in pairs:
        counts[place.get(right, -1)][place.get(given, -1)] += 1
    return Confusion(labels=tuple(labels), counts=tuple(map(tuple, counts)))
