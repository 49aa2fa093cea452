"""What a training tells the person who waits: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import time
from typing import Protocol

import attrs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from hacore.measure.scores import Scores


@attrs.frozen(kw_only=True)
class Speed:
    """questions_per_second over all processes; seconds_left, without the evaluations to come."""

    questions_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        left = datetime.timedelta(seconds=round(self.seconds_left))
        return f"{self.questions_per_second:.0f} questions/s  {left} left"


class Reporter(Protocol):
    """Receives what happens; the training never depends on it."""

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        """The training begins or goes on at ``step``."""

    def train(self, step: int, scores: Scores, speed: Speed) -> None:
        """Means over the steps since the last call, and how fast it goes."""

    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None:
        """An evaluation ended."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def stop(self) -> None:
        """The training ended or was interrupted."""


class Silent:
    """Tells nothing."""

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None: ...
    def train(self, step: int, scores: Scores, speed: Speed) -> None: ...
    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None: ...
    def message(self, text: str) -> None: ...
    def stop(self) -> None: ...


def _state(scores: Scores) -> str:
    return f"loss {scores.loss:.3f}  accuracy {100 * scores.accuracy:5.1f}%  kept {100 * scores.kept:5.1f}%"


def _evaluation(epoch: float, split: str, scores: Scores, best: bool) -> str:
    parts = scores.by_group or scores.by_type
    words = "  ".join(f"{name} {100 * part.accuracy:.1f}%" for name, part in parts.items())
    mark = "  best" if best else ""
    return f"epoch {epoch:.2f}  {split} accuracy {100 * scores.accuracy:.1f}%  {words}{mark}"


class Plain:
    """Lines that read well in a file: every evaluation, and the state every half minute."""

    def __init__(self, console: Console, seconds: float = 30.0) -> None:
        self._console = console
        self._seconds = seconds
        self._said = 0.0
        self._steps_per_epoch = 1
        self._total = 0

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        self._said = time.monotonic()
        self._steps_per_epoch = steps_per_epoch
        self._total = total_steps

    def train(self, step: int, scores: Scores, speed: Speed) -> None:
        now = time.monotonic()
        if now - self._said >= self._seconds or step >= self._total:
            self._said = now
            self.message(f"step {step}/{self._total}  {_state(scores)}  {speed}")

    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None:
        self.message(_evaluation(step / self._steps_per_epoch, split, scores, best))

    def message(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None: ...


class Live:
    """A bar with loss, accuracy, share of kept cells, questions per second and time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
        )
        self._task = self._progress.add_task("train", state="")
        self._steps_per_epoch = 1

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        self._steps_per_epoch = steps_per_epoch
        self._progress.update(self._task, completed=step, total=total_steps)
        self._progress.start()

    def train(self, step: int, scores: Scores, speed: Speed) -> None:
        self._progress.update(self._task, completed=step, state=f"{_state(scores)}  {speed}")

    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None:
        self.message(_evaluation(step / self._steps_per_epoch, split, scores, best))

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._progress.stop()


def reporter_for(console: Console) -> Reporter:
    """A live bar when the console is a terminal, plain lines otherwise."""
    return Live(console) if console.is_terminal else Plain(console)
