"""What a sweep tells the person who waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from hacore.console import Console, time_left

if TYPE_CHECKING:
    from hacore_sweep._folder import Outcome


@attrs.frozen(kw_only=True)
class State:
    """How far a run is. done: in [0, 1]; accuracy, kept: on training questions; None: not known yet."""

    label: str
    done: float
    epoch: float | None
    accuracy: float | None
    kept: float | None
    seconds_left: float | None

    def __str__(self) -> str:
        if self.epoch is None or self.accuracy is None or self.kept is None:
            return "starting"
        left = "" if self.seconds_left is None else f"  {time_left(self.seconds_left)}"
        return f"accuracy {100 * self.accuracy:.1f}%  kept {100 * self.kept:.1f}%{left}"


class SweepReporter(Protocol):
    """Receives what happens in a sweep; the sweep never depends on it."""

    def start(self, finished: int, total: int, jobs: int) -> None:
        """``finished`` of ``total`` runs were finished before; ``jobs`` work at a time."""

    def started(self, outcome: Outcome) -> None:
        """A run begins or resumes."""

    def progress(self, states: Sequence[State]) -> None:
        """How far the running ones are; called several times a second."""

    def ended(self, outcome: Outcome) -> None:
        """A run ended, in whatever way."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def stop(self) -> None:
        """The sweep ended or was interrupted."""


class ConsoleSweepReporter:
    """Puts what happens into words: a line for each run that ends, and how far the others are."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._finished = self._total = 0
        self._names: dict[str, str] = {}  # of the running ones, by label

    def start(self, finished: int, total: int, jobs: int) -> None:
        self._finished, self._total = finished, total
        before = f", {finished} of them finished before" if finished else ""
        self.message(f"{total} runs{before}; {jobs} at a time")
        self._console.progress("finished", finished, total)

    def started(self, outcome: Outcome) -> None:
        label = outcome.combination.label
        # A bar has little room; a line stands alone and says when the run began.
        self._names[label] = outcome.combination.short if self._console.live else label
        if not self._console.live:
            self.message(f"{'start' if outcome.folder is None else 'resume':9} {label}")
        self._console.progress(self._names[label], 0.0, 1.0, "starting")

    def progress(self, states: Sequence[State]) -> None:
        for state in states:
            # A run that is trained is not done: it is measured, and its end has a line of its own.
            self._console.progress(self._names[state.label], min(state.done, 0.99), 1.0, str(state))

    def ended(self, outcome: Outcome) -> None:
        self._console.remove(self._names.pop(outcome.combination.label))
        self.message(_ending(outcome))
        self._finished += outcome.status == "finished"
        self._console.progress("finished", self._finished, self._total)

    def message(self, text: str) -> None:
        self._console.message(text)

    def stop(self) -> None:
        self._console.close()


def _ending(outcome: Outcome) -> str:
    """One line on a run that ended."""
    line = f"{outcome.status:9} {outcome.combination.label}"
    if outcome.error:
        return f"{line}: {outcome.error}"
    if outcome.status != "finished" or outcome.folder is None:
        return line
    result = outcome.folder.result()
    accuracy = "no accuracy" if result.accuracy is None else f"accuracy {100 * result.accuracy:.1f}%"
    seconds = f", {result.training.seconds:.0f} s" if result.training else ""
    return f"{line}: {accuracy} on {result.split}, {100 * result.kept:.1f}% kept{seconds}"
