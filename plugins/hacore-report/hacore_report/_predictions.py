"""What a run's predictions add up to: intervals, confusions, and how many cells were kept."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean

import attrs

from hacore.measure.predictions import Prediction


def wilson(right: float, questions: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a share, at 95%; unlike p +- z s it stays in [0, 1] and is no point at 0 or 1.

    Exactly meant for scores of 0 and 1; of scores in between, as VQA's, it is too wide, never too narrow,
    as their variance is smaller. Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    share, z2 = right / questions, z * z
    centre = (share + z2 / (2 * questions)) / (1 + z2 / questions)
    half = z / (1 + z2 / questions) * math.sqrt(share * (1 - share) / questions + z2 / (4 * questions**2))
    # Rounding must not part a bound from the share that it is equal to.
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
    """A row for each type of question in the order of first appearance by name, the last one for all."""
    parts: dict[str, list[Prediction]] = defaultdict(list)
    for it in predictions:
        parts[it.type].append(it)
    return [row(name, parts[name]) for name in sorted(parts)] + [row("all", predictions)]


def row(name: str, predictions: Sequence[Prediction]) -> Row:
    """The row of some questions."""
    scores = [it.score for it in predictions if it.score is not None]
    low, high = wilson(sum(scores), len(scores)) if scores else (None, None)
    return Row(
        name=name,
        questions=len(predictions),
        accuracy=fmean(scores) if scores else None,
        low=low,
        high=high,
        kept=fmean(it.kept for it in predictions),
    )


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
    known = [it for it in predictions if it.answer is not None]
    if not known:
        return None
    frequent = Counter(answer for it in known for answer in (str(it.answer), it.prediction))
    labels = sorted((it for it, _ in frequent.most_common(most)), key=lambda it: (-frequent[it], it))
    if len(frequent) > most:
        labels.append(Confusion.OTHER)
    place = {label: number for number, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for it in known:
        counts[place.get(str(it.answer), -1)][place.get(it.prediction, -1)] += 1
    return Confusion(labels=tuple(labels), counts=tuple(map(tuple, counts)))
