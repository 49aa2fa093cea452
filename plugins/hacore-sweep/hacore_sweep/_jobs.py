"""One run of a sweep, from the moment it is given to workers until what became of it is known."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from hacore.errors import one_line
from hacore.machine.commands import path_word
from hacore.runs import RunFolder
from hacore.runs.metrics import TrainLine, read_metrics
from hacore.spec import dump_spec
from hacore_sweep._folder import Outcome, SweepFolder
from hacore_sweep._reporting import State
from hacore_sweep.executors import Ended, Work, Workers

# A network file system may show what another machine has written only after a while.
_SHOWN_SECONDS = 60.0


class Job:
    """A run that is being worked on, or waits for a place at the workers."""

    def __init__(
        self, folder: SweepFolder, outcome: Outcome, workers: Workers, flags: Sequence[str] = ()
    ) -> None:
        """Give it to the workers: from its run folder where there is one, else from its spec.

        flags: further ones of ``hacore run``.
        """
        self.outcome = outcome
        self.begun = False
        self._folder = folder
        spec = outcome.combination.spec
        if outcome.folder is not None:
            source: tuple[str, ...] = ("--resume", str(outcome.folder.path))
        else:
            source = (path_word(folder.spec_of(spec)), "--runs", str(folder.runs))
        self._log = folder.log_of(spec)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        work = Work(
            spec=spec, spec_file=folder.spec_of(spec), arguments=("run", *source, *flags), log=self._log
        )
        self._process = workers.start(work)
        self._end: Ended | None = None
        self._noticed = 0.0

    def begins(self) -> bool:
        """Whether it has started since the last call."""
        if self.begun or not self._process.begun():
            return False
        self.begun = True
        return True

    def ended(self) -> bool:
        """Whether it has ended; the outcome's folder is known then."""
        if self._end is None:
            self._end = self._process.ended()
            self._noticed = time.monotonic()
        if self.outcome.folder is None:
            spec = self.outcome.combination.spec
            text = dump_spec(spec)
            # A run of another spec may be there under the same name.
            for file in self._folder.runs.glob(f"{spec.name}/[!.]*/spec.toml"):
                if (folder := RunFolder(file.parent)).text() == text:
                    self.outcome.folder = folder
        if self._end is not None and self._end.status == 0 and not self._finished():
            return time.monotonic() - self._noticed > _SHOWN_SECONDS
        return self._end is not None

    @property
    def lost(self) -> bool:
        """Whether it ended with its machine, and can be resumed on another."""
        return self._end is not None and self._end.status is None and not self._finished()

    def ask_to_stop(self) -> None:
        """Ask it to save its state and leave."""
        self._process.ask_to_stop()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self._process.kill()

    def note(self, stopped: bool) -> None:
        """Say in the outcome how it ended; ``stopped``: it had been asked to."""
        outcome = self.outcome
        if self._finished():
            outcome.status, outcome.error = "finished", None
        elif stopped:
            outcome.status = "interrupted"
        else:
            outcome.status, outcome.error = "failed", self._error()

    def state(self) -> State:
        """Its progress, from its metrics."""
        train = self.outcome.combination.spec.train
        line = _last_line(self.outcome.folder) if self.outcome.folder else None
        done = 0.0 if line is None else line.epoch / train.epochs
        if line is not None and train.steps is not None:
            done = max(done, line.step / train.steps)
        return State(
            label=self.outcome.combination.label,
            done=min(done, 1.0),
            epoch=line.epoch if line else None,
            accuracy=line.accuracy if line else None,
            kept=line.kept if line else None,
            seconds_left=line.seconds / done * (1 - done) if line and 0 < done <= 1 else None,
        )

    def _finished(self) -> bool:
        return self.outcome.folder is not None and self.outcome.folder.result_file.is_file()

    def _error(self) -> str:
        """One line on the cause, from what it has logged since it was started."""
        assert self._end is not None
        status = self._end.status
        lines: list[str] = []
        if self._log.exists():
            with open(self._log, "rb") as log:
                log.seek(self._log_start)
                lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("hacore: ") for line in lines if line.startswith("hacore: ")]
        if self._end.cause or status is None:
            cause = self._end.cause
        elif status < 0:
            cause = f"ended by signal {-status} ({signal.Signals(-status).name})"
        elif errors:
            cause = "; ".join(errors)
        else:
            cause = lines[-1].strip() if lines else f"ended with status {status}"
        return one_line(cause)


def _last_line(folder: RunFolder) -> TrainLine | None:
    """The last whole line of the metrics that is about training."""
    lines = read_metrics(folder.metrics_file, tail=True)
    return next((line for line in reversed(lines) if isinstance(line, TrainLine)), None)
