"""What the user reads while work goes on: bars on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import rich.console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from hacore.notebooks import notebook_part


class Console:
    """Messages and progress, on standard error; in a notebook in one place below its cell.

    write: takes each line instead, as a logger's ``info`` does; then there are no bars. seconds: at least
    between two lines about one piece of work. screen: where to print instead of standard error.
    """

    live = False
    """Whether progress is shown as bars."""

    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        *,
        seconds: float = 10.0,
        screen: rich.console.Console | None = None,
    ) -> None:
        self._screen = screen or rich.console.Console(stderr=True)
        cell = notebook_part("Cell") if write is None and self._screen.is_jupyter else None
        self._cell = cell and cell()
        write = self._cell.line if self._cell else write
        self._write = write or partial(
            self._screen.print, markup=False, emoji=False, highlight=False, soft_wrap=True
        )
        self.live = write is None and self._screen.is_interactive
        self._seconds = seconds
        self._written: dict[str, float] = {}
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def message(self, text: str) -> None:
        """Show a line, above the bars if there are any."""
        self._write(text)

    def progress(self, name: str, done: float, total: float, state: str = "") -> None:
        """``done`` of ``total`` of the piece of work ``name``; floats are shown as a percentage.

        Called as often as is convenient. Lines come at most every ``seconds``, and one at the end.
        """
        count = f"{done / total:4.0%}" if isinstance(done, float) else f"{done:,} of {total:,}"
        if self.live:
            self._show(name, done, total, count, state)
            return
        if self._cell:
            self._cell.progress(name, done / max(total, 1), f"{count}  {state}")
            return
        now = time.monotonic()
        if done >= total or now - self._written.setdefault(name, now) >= self._seconds:
            self._written[name] = now
            self.message(f"{name}: {count}  {state}".rstrip())

    def remove(self, name: str) -> None:
        """End a piece of work before its total is reached; its bar disappears."""
        self._written.pop(name, None)
        if self._cell:
            self._cell.work.pop(name, None)
        if self._bars and name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def close(self) -> None:
        """Leave the terminal with the bars as they are; further progress begins new ones."""
        if self._bars:
            self._bars.stop()
        self._bars, self._tasks, self._written = None, {}, {}

    def _show(self, name: str, done: float, total: float, count: str, state: str) -> None:
        if self._bars is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[count]}", markup=False),
                TextColumn("{task.fields[state]}", markup=False),
                _TimeLeft(),
            )
            self._bars = Progress(*columns, console=self._screen)
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, count=count, state=state)
        self._bars.update(self._tasks[name], completed=done, total=total, count=count, state=state)
        if self._bars.finished:
            self.close()


class Silent(Console):
    """Says nothing."""

    def __init__(self) -> None:
        super().__init__(lambda text: None)


class _TimeLeft(TimeRemainingColumn):
    """Only without a state, as a sender that gives one knows better."""

    def render(self, task: Task) -> Text:
        return Text() if task.fields["state"] else super().render(task)


def time_left(seconds: float) -> str:
    """As ``0:01:02 left``."""
    return f"{datetime.timedelta(seconds=round(seconds))} left"


@contextmanager
def log_shown(console: Console) -> Iterator[None]:
    """As ``show_log``, for a time; a program that handles messages of libraries itself is left alone."""
    logger = logging.getLogger("hacore")
    before = logger.handlers, logger.level, logger.propagate
    if not isinstance(console, Silent) and not logger.hasHandlers():
        show_log(console)
    try:
        yield
    finally:
        logger.handlers, level, logger.propagate = before
        logger.setLevel(level)


def show_log(console: Console) -> None:
    """Let the library's own messages, as of data being prepared, reach the user."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.message(record.getMessage())

    logger = logging.getLogger("hacore")
    logger.handlers = [Lines()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
