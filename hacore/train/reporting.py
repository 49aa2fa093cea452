"""What a training tells the person who waits."""

from __future__ import annotations

from typing import Protocol

import attrs

from hacore.console import Console, time_left
from hacore.measure.scores import Scores


@attrs.frozen(kw_only=True)
class Speed:
    """questions_per_second over all processes; seconds_left, without the evaluations to come."""

    questions_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        return f"{self.questions_per_second:.0f} questions/s  {time_left(self.seconds_left)}"


class Reporter(Protocol):
    """Receives what happens; the training never depends on it."""

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        """The training begins, or resumes, at ``step``."""

    def train(self, step: int, scores: Scores, speed: Speed) -> None:
        """Means over the steps since the last call, and how fast it goes."""

    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None:
        """An evaluation ended."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def stop(self) -> None:
        """The training ended or was interrupted."""


class ConsoleReporter:
    """Puts what happens into words: every evaluation, and how the training goes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total_steps = self._steps_per_epoch = 1

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        self._total_steps, self._steps_per_epoch = total_steps, steps_per_epoch
        if step < total_steps:
            self._console.progress("steps", step, total_steps, "starting")

    def train(self, step: int, scores: Scores, speed: Speed) -> None:
        accuracy, kept = 100 * scores.accuracy, 100 * scores.kept
        state = f"loss {scores.loss:.3f}  accuracy {accuracy:5.1f}%  kept {kept:5.1f}%  {speed}"
        self._console.progress("steps", step, self._total_steps, state)

    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None:
        parts = scores.by_group or scores.by_type
        words = [
            f"epoch {step / self._steps_per_epoch:.2f}",
            f"{split} accuracy {100 * scores.accuracy:.1f}%",
            *(f"{name} {100 * part.accuracy:.1f}%" for name, part in parts.items()),
            *(["best"] if best else []),
        ]
        self.message("  ".join(words))

    def message(self, text: str) -> None:
        self._console.message(text)

    def stop(self) -> None:
        self._console.close()
