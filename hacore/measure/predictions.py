"""The lines of a predictions file, one for each question of a split. Imports no torch."""

from __future__ import annotations

import attrs

from hacore.machine.records import FORMAT, Count, Record, Share, optional

STATES = ("right", "partly right", "wrong")


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Prediction(Record):
    """What a model answered to a question.

    id, image, type: of the question. answer: the right one, None if it is not among the answers or not
    public. score: of the prediction in [0, 1], None where the answers are not public. probability: of the
    prediction. kept: number of kept cells. cells: their indices; weights: of these, where the selector
    weighs them. Runs of contract 1 have no cells.
    """

    id: int
    image: Count
    type: str
    answer: str | None
    prediction: str
    score: Share | None
    probability: Share = optional()
    kept: Count
    cells: list[Count] | None = optional()
    weights: list[float] | None = optional()
    format: int = FORMAT

    @property
    def state(self) -> str:
        """See ``state_of``."""
        return state_of(self.score)


def state_of(score: float | None) -> str:
    """One of ``STATES``, or "predicted" where the answer is not public."""
    if score is None:
        return "predicted"
    return STATES[0] if score >= 1 else STATES[1] if score > 0 else STATES[2]
