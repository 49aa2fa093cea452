"""metrics.jsonl: a line for each log and each evaluation of a training. Imports no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from hacore.errors import RunError
from hacore.machine.records import FORMAT, Record
from hacore.machine.texts import HEAD, TextError, text_start
from hacore.measure.scores import Part

_TAIL = 16_384  # bytes that hold the last line


@attrs.frozen(kw_only=True, slots=False, eq=False)
class TrainLine(Record):
    """Means over the steps since the last such line. seconds: of training, over all sessions."""

    kind: str = "train"
    step: int
    epoch: float
    loss: float
    accuracy: float
    kept: float
    lr: float
    seconds: float
    format: int = FORMAT


@attrs.frozen(kw_only=True, slots=False, eq=False)
class EvalLine(Record):
    """An evaluation on the split that chooses the weights, as in ``hacore.measure.scores.Scores``."""

    kind: str = "eval"
    step: int
    epoch: float
    split: str
    seconds: float
    questions: int
    loss: float
    accuracy: float
    kept: float
    by_type: dict[str, Part]
    by_group: dict[str, Part]
    format: int = FORMAT


_KINDS: dict[str, type[TrainLine] | type[EvalLine]] = {"train": TrainLine, "eval": EvalLine}


def read_metrics(path: Path, *, tail: bool = False) -> list[TrainLine | EvalLine]:
    """The lines of the file, or of its last 16 KiB with ``tail``; none if there is no file.

    A line that was cut while it was written is left out.
    """
    try:
        with open(path, "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL) if tail else 0
            file.seek(start)
            data = file.read()
    except OSError:
        return []
    try:
        texts = data[0 if start else text_start(data[:HEAD]) :].splitlines()
    except TextError as error:
        raise RunError(error.at(path)) from None
    lines = []
    for text in texts[1:] if start else texts:
        try:
            table = json.loads(text)
            lines.append(_KINDS[table["kind"]].from_dict(table, str(path), "run the spec again"))
        except (ValueError, KeyError, TypeError):
            continue
    return lines


class MetricsFile:
    """Appends to metrics.jsonl; the file is readable by pandas at any time."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        """Open for appending after dropping what came later than ``keep_bytes``."""
        self._path = path
        try:
            self._file = open(path, "ab")  # noqa: SIM115
            # A file that lost its end would be filled up with zeros.
            self._file.truncate(min(keep_bytes, os.fstat(self._file.fileno()).st_size))
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error

    def write(self, line: TrainLine | EvalLine) -> None:
        """Append a line."""
        try:
            self._file.write((json.dumps(line.as_dict()) + "\n").encode())
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{self._path}: cannot be written: {error.strerror or error}; make room, then resume the run"
            ) from error

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
