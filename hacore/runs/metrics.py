"""metrics.jsonl: a line for each log and each evaluation of a training. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import attrs

from hacore.errors import RunError
from hacore.machine.records import FORMAT, Amount, Count, Record, Share, optional, read_line
from hacore.machine.texts import HEAD, TextError, text_start
from hacore.measure.scores import Part

_LEFT = "the line is left out"
_TAIL = 16_384  # bytes that hold the last line


@attrs.frozen(kw_only=True, slots=False, eq=False)
class TrainLine(Record):
    """Means over the steps since the last such line. questions_seen, seconds: of training, all sessions."""

    kind: str = "train"
    step: Count
    epoch: Amount
    questions_seen: Count | None = optional()
    loss: float
    accuracy: Share
    kept: Share
    lr: Amount
    seconds: Amount
    format: int = FORMAT


@attrs.frozen(kw_only=True, slots=False, eq=False)
class EvalLine(Record):
    """An evaluation on the split that chooses the weights, as in ``hacore.measure.scores.Scores``."""

    kind: str = "eval"
    step: Count
    epoch: Amount
    questions_seen: Count | None = optional()
    split: str
    seconds: Amount
    questions: Count
    loss: float
    accuracy: Share
    kept: Share
    by_type: dict[str, Part]
    by_group: dict[str, Part]
    format: int = FORMAT


_KINDS: dict[str, type[TrainLine] | type[EvalLine]] = {"train": TrainLine, "eval": EvalLine}


def read_metrics(
    path: Path, *, tail: bool = False, damaged: Callable[[str], None] = lambda problem: None
) -> list[TrainLine | EvalLine]:
    """The lines of the file, or of its last 16 KiB with ``tail``; none if there is no file.

    A last line that was cut while it was written is left out, and so is a damaged line, or one that does not
    come after the one before; ``damaged`` is told of each.
    """
    try:
        with open(path, "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL) if tail else 0
            file.seek(start)
            data = file.read()
    except FileNotFoundError:
        return []
    except OSError as error:
        damaged(f"{path}: cannot be read: {error.strerror or error}")
        return []
    try:
        texts = data[0 if start else text_start(data[:HEAD]) :].splitlines(keepends=True)
    except TextError as error:
        damaged(error.at(path))
        return []
    lines: list[TrainLine | EvalLine] = []
    steps = dict.fromkeys(_KINDS, -1)
    for number, text in enumerate(texts, start=1):
        # The first line of a tail is a part of one, and a line without end is still being written.
        if (start and number == 1) or not text.endswith(b"\n"):
            continue
        try:
            line = _line(text, path, number)
        except RunError as error:
            damaged(str(error))
            continue
        if line.step <= steps[line.kind]:
            damaged(f"{path}:{number}: step {line.step} does not come after step {steps[line.kind]}; {_LEFT}")
            continue
        steps[line.kind] = line.step
        lines.append(line)
    return lines


def _line(text: bytes, path: Path, number: int) -> TrainLine | EvalLine:
    """Raises RunError, which names the place, for what is no line of metrics."""
    table = read_line(text, path, number, _LEFT)
    kind = table.get("kind") if isinstance(table, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise RunError(f"{path}:{number}: is no line of metrics, of kind {' or '.join(_KINDS)}; {_LEFT}")
    return _KINDS[kind].from_dict(table, f"{path}:{number}", _LEFT)


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
