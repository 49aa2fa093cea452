"""What a run's predictions add up to: intervals, confusions, and how many cells were kept."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import attrs

from hacore.measure.predictions import Prediction
from hacore.measure.scores import Baseline


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
    """Accuracy of a type or a group of questions, or of all. low, high: its interval.

    None where answers are not public. kind: "type", "group" or "all". deviation: of the accuracy over seeds,
    which a row has in place of the interval where it is the mean of several.
    """

    name: str
    kind: str
    questions: int
    accuracy: float | None
    low: float | None
    high: float | None
    kept: float
    """Mean number of cells."""
    deviation: float | None = None

    def baseline(self, baseline: Baseline) -> float | None:
        """The accuracy of a baseline on the same questions."""
        if self.kind == "all":
            return baseline.accuracy
        return (baseline.by_type if self.kind == "type" else baseline.by_group).get(self.name)


def by_type(predictions: Sequence[Prediction]) -> list[Row]:
    """A row for each type of question, by name, and a last one for all."""
    parts: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        parts[prediction.type].append(prediction)
    return [_row(name, "type", parts[name]) for name in sorted(parts)] + [_row("all", "all", predictions)]


def by_group(predictions: Sequence[Prediction], groups: Mapping[str, Sequence[str]]) -> list[Row]:
    """The rows of ``by_type``, those of a group after a row for the group.

    A type of several groups is in the first; those of none come before all groups.
    """
    *types, whole = by_type(predictions)
    grouped: list[Row] = []
    for name, members in groups.items():
        own = [row for row in types if row.name in members]
        if own and [row.name for row in own] != [name]:
            part = [prediction for prediction in predictions if prediction.type in members]
            grouped += [_row(name, "group", part), *own]
            types = [row for row in types if row.name not in members]
    return [*types, *grouped, whole]


def members_of(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The types of each group that has a row."""
    return {row.name: list(groups[row.name]) for row in rows if row.kind == "group"}


def mean_rows(seeds: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of each seed as one list: means, and deviations where there are several seeds."""
    return [_mean_row(rows) if len(rows) > 1 else rows[0] for rows in zip(*seeds, strict=True)]


def _mean_row(rows: Sequence[Row]) -> Row:
    accuracies = [row.accuracy for row in rows if row.accuracy is not None]
    return attrs.evolve(
        rows[0],
        accuracy=fmean(accuracies) if accuracies else None,
        deviation=stdev(accuracies) if accuracies else None,
        low=None,
        high=None,
        kept=fmean(row.kept for row in rows),
    )


def _row(name: str, kind: str, predictions: Sequence[Prediction]) -> Row:
    scores = [prediction.score for prediction in predictions if prediction.score is not None]
    low, high = wilson(sum(scores), len(scores)) if scores else (None, None)
    return Row(
        name=name,
        kind=kind,
        questions=len(predictions),
        accuracy=fmean(scores) if scores else None,
        low=low,
        high=high,
        kept=fmean(prediction.kept for prediction in predictions),
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
