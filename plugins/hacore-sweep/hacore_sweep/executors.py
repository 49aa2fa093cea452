"""Where the runs of a sweep are run: what ``hacore sweep --on NAME`` asks of a plugin. Imports no torch.

A plugin declares a class of ``Workers`` as a component of the kind ``executor``. It is made once for a
sweep, as ``cls(config, demand)``, and raises ``hacore.errors.HacoreError`` where it cannot work. The sweep
gives it runs as long as it has room, polls them several times a second, and closes it in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from hacore.spec import Spec


@attrs.frozen(kw_only=True)
class Demand:
    """What a sweep asks of workers.

    device: ``--device`` as typed. jobs: runs at a time; None: as many as there is room for. specs: of
    the runs to come. tell: shows a line to the user. lock: the file descriptor of the sweep folder's lock,
    which processes on this machine keep open until they end; None where there are no locks.
    """

    device: str
    jobs: int | None
    specs: Sequence[Spec]
    tell: Callable[[str], None]
    lock: int | None


@attrs.frozen(kw_only=True)
class Work:
    """One run: ``python -m hacore ARGUMENTS --device DEVICE`` in the working directory.

    spec, spec_file: the resolved spec and the file that holds it. log: what the process writes to standard
    output and error is appended here; its folder exists.
    """

    spec: Spec
    spec_file: Path
    arguments: tuple[str, ...]
    log: Path


@attrs.frozen(kw_only=True)
class Ended:
    """How a process ended.

    status: its exit status, negative for a signal; None when its machine was lost, and the run can be
    resumed on another. cause: what else is known of a failure; empty: the last line of the log.
    """

    status: int | None
    cause: str = ""


class Process(Protocol):
    """A run that was given to workers."""

    def begun(self) -> bool:
        """Whether it has started, or has ended."""

    def ended(self) -> Ended | None:
        """How it ended; None while it waits or runs."""

    def ask_to_stop(self) -> None:
        """Ask it to save its state and leave."""

    def kill(self) -> None:
        """End it and all that it started, at once; one that waits never starts."""


class Workers(Protocol):
    """A place with room for some runs at a time."""

    @property
    def jobs(self) -> int:
        """Number of runs that there is room for at a time, as far as is known now."""

    def room(self) -> bool:
        """Whether it takes another run; the run may still have to wait."""

    def start(self, work: Work) -> Process:
        """Start a run, or queue it."""

    def close(self) -> None:
        """No run is left; release what was reserved."""
