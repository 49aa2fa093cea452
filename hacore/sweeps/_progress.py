"""What a sweep tells the person who waits: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

if TYPE_CHECKING:
    from hacore.sweeps._folder import Outcome


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
        left = ""
        if self.seconds_left is not None:
            left = f"  {datetime.timedelta(seconds=round(self.seconds_left))} left"
        return f"accuracy {100 * self.accuracy:.1f}%  kept {100 * self.kept:.1f}%{left}"


class SweepReporter(Protocol):
    """Receives what happens in a sweep; the sweep never depends on it."""

    def start(self, finished: int, total: int, jobs: int) -> None:
        """``finished`` of ``total`` runs were finished before; ``jobs`` work at a time."""

    def started(self, outcome: Outcome) -> None:
        """A run begins or goes on."""

    def progress(self, states: Sequence[State]) -> None:
        """How far the running ones are; called several times a second."""

    def ended(self, outcome: Outcome) -> None:
        """A run ended, in whatever way."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def stop(self) -> None:
        """The sweep ended or was interrupted."""


class SilentSweep:
    """Tells nothing."""

    def start(self, finished: int, total: int, jobs: int) -> None: ...
    def started(self, outcome: Outcome) -> None: ...
    def progress(self, states: Sequence[State]) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def message(self, text: str) -> None: ...
    def stop(self) -> None: ...


class PlainSweep:
    """A line for each run that starts or ends, and every minute one for each that is at work."""

    def __init__(self, console: Console, seconds: float = 60.0) -> None:
        self._console = console
        self._seconds = seconds
        self._said = time.monotonic()
        self._done = self._total = 0

    def start(self, finished: int, total: int, jobs: int) -> None:
        self._done, self._total = finished, total
        before = f", {finished} of them finished before" if finished else ""
        self.message(f"{total} runs{before}; {jobs} at a time")

    def started(self, outcome: Outcome) -> None:
        what = "go on" if outcome.folder is not None else "start"
        self.message(f"{what:9} {outcome.combination.label}")

    def progress(self, states: Sequence[State]) -> None:
        now = time.monotonic()
        if now - self._said < self._seconds:
            return
        self._said = now
        for state in states:
            self.message(f"{100 * state.done:3.0f}%      {state.label}: {state}")

    def ended(self, outcome: Outcome) -> None:
        self._done += outcome.status == "finished"
        self.message(f"{ending(outcome)}  ({self._done} of {self._total} finished)")

    def message(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None: ...


class LiveSweep:
    """A bar for the sweep and one for each run that is at work; a line for each that ended."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
        )
        self._all = self._progress.add_task("runs", state="")
        self._bars: dict[str, TaskID] = {}

    def start(self, finished: int, total: int, jobs: int) -> None:
        self._progress.update(self._all, completed=finished, total=total)
        self._count()
        self._progress.start()

    def started(self, outcome: Outcome) -> None:
        label = outcome.combination.label
        self._bars[label] = self._progress.add_task(outcome.combination.short, total=1.0, state="starting")

    def progress(self, states: Sequence[State]) -> None:
        for state in states:
            self._progress.update(self._bars[state.label], completed=state.done, state=str(state))

    def ended(self, outcome: Outcome) -> None:
        self._progress.remove_task(self._bars.pop(outcome.combination.label))
        if outcome.status == "finished":
            self._progress.advance(self._all)
        self._count()
        self.message(ending(outcome))

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._progress.stop()

    def _count(self) -> None:
        task = self._progress.tasks[0]
        self._progress.update(self._all, state=f"{task.completed:.0f} of {task.total or 0:.0f} finished")


def ending(outcome: Outcome) -> str:
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


def sweep_reporter_for(console: Console) -> SweepReporter:
    """Bars when the console is a terminal, plain lines otherwise."""
    return LiveSweep(console) if console.is_terminal else PlainSweep(console)
