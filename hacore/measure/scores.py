"""What questions were answered how well, in numbers. Imports no torch."""

from __future__ import annotations

import attrs

from hacore.machine.records import Count, Record, Share


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Part(Record):
    """Accuracy, in [0, 1], over the questions of one type or group, and how many there are."""

    accuracy: Share
    questions: Count


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Scores(Record):
    """What a number of questions gave.

    questions: how many. loss, accuracy: means, accuracy in [0, 1]. kept: mean share of the cells that
    were kept. by_type, by_group: without empty ones.
    """

    questions: Count
    loss: float
    accuracy: Share
    kept: Share
    by_type: dict[str, Part]
    by_group: dict[str, Part]


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Baseline(Record):
    """Accuracies in [0, 1] of a baseline: overall, by type and by group."""

    accuracy: Share
    by_type: dict[str, Share]
    by_group: dict[str, Share]
