"""The lines of a predictions file, one for each question of a split. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from hacore.errors import RunError
from hacore.machine.records import FORMAT, Record, optional
from hacore.machine.texts import open_text

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
    image: int
    type: str
    answer: str | None
    prediction: str
    score: float | None
    probability: float = optional()
    kept: int
    cells: list[int] | None = optional()
    weights: list[float] | None = optional()
    format: int = FORMAT

    @property
    def state(self) -> str:
        """See ``state_of``."""
        return state_of(self.score)


def read_predictions(path: Path) -> list[Prediction]:
    """Raises RunError when the file is missing or damaged."""
    way_out = "write it again with 'hacore eval'"
    try:
        with open_text(path) as file:
            tables = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise RunError(f"{path}: missing; {way_out}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}; {way_out}") from None
    if not tables:
        raise RunError(f"{path}: holds no predictions; {way_out}")
    return [
        Prediction.from_dict(table, f"{path}:{number}", way_out)
        for number, table in enumerate(tables, start=1)
    ]


def state_of(score: float | None) -> str:
    """One of ``STATES``, or "predicted" where the answer is not public."""
    if score is None:
        return "predicted"
    return STATES[0] if score >= 1 else STATES[1] if score > 0 else STATES[2]
