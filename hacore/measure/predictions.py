"""The lines of a predictions file, one for each question of a split. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import attrs

from hacore.errors import RunError
from hacore.machine.records import FORMAT, Count, Record, Share, optional, read_line

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


def read_predictions(path: Path) -> list[Prediction]:
    """Raises RunError, which names the line, when the file is missing or damaged."""
    way_out = "write it again with 'hacore eval'"
    try:
        with open(path, "rb") as file:
            texts = file.readlines()
    except FileNotFoundError:
        raise RunError(f"{path}: missing; {way_out}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}; {way_out}") from None
    lines: dict[int, Prediction] = {}
    for number, text in enumerate(texts, start=1):
        line = Prediction.from_dict(read_line(text, path, number, way_out), f"{path}:{number}", way_out)
        if line.id in lines:
            raise RunError(f"{path}:{number}: has question {line.id} twice; {way_out}")
        if line.weights is not None and len(line.weights) != len(line.cells or ()):
            raise RunError(f"{path}:{number}: has cells and weights of different numbers; {way_out}")
        lines[line.id] = line
    if not lines:
        raise RunError(f"{path}: holds no predictions; {way_out}")
    return list(lines.values())


def state_of(score: float | None) -> str:
    """One of ``STATES``, or "predicted" where the answer is not public."""
    if score is None:
        return "predicted"
    return STATES[0] if score >= 1 else STATES[1] if score > 0 else STATES[2]
