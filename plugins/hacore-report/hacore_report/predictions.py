"""Reads the predictions of a run. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from hacore.errors import RunError
from hacore.machine.records import read_line
from hacore.measure.predictions import Prediction


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
