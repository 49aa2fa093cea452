"""Runs the combinations of a sweep, several at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hacore.console import Console, Silent, log_shown
from hacore.errors import HacoreError
from hacore.machine.files import write_whole
from hacore.observers import Named, choose_observers, observer_flags
from hacore.registry import registry
from hacore.spec import Spec, Sweep, Use, dump_spec, structure_config
from hacore_sweep._folder import Outcome, SweepFolder
from hacore_sweep._jobs import Job
from hacore_sweep._reporting import ConsoleSweepReporter, SweepReporter
from hacore_sweep._seeds import of_seeds
from hacore_sweep.executors import Demand, Workers

_LOOK_SECONDS = 0.2
_LOSSES = 3  # of machines, by one run, before it counts as failed


def run_sweep(
    sweep: Sweep,
    *,
    output: str | Path | None = None,
    seeds: Collection[int] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    on: str = "local",
    options: Mapping[str, Any] | None = None,
    log: Named = (),
    without: Collection[str] = (),
    reporter: SweepReporter | None = None,
    quiet: bool = False,
) -> tuple[SweepFolder, list[Outcome]]:
    """Run what the sweep folder does not have yet; returns it and what became of every run.

    output: the sweep folder, ``sweeps/NAME`` by default; finished runs in it are not repeated, others are
    resumed from their last checkpoint. seeds: run only these of the sweep's. jobs: runs at a time;
    default: as many as the cores, or the GPUs, have room for. on: ``local``, this machine, or another
    executor, with its ``options``. log, without: of every run, see ``hacore.run``. quiet: show nothing;
    otherwise bars on a terminal, a text that changes in a notebook, lines elsewhere. reporter: is told
    instead.
    A run that fails does not stop the others; one that loses its machine is resumed on another. SIGTERM
    and Ctrl-C are passed on, the runs save their state and leave, and their outcome is "interrupted".
    Raises HacoreError when nothing can be run.
    """
    from hacore.machine.processes import launched

    if launched():
        raise HacoreError(
            "a sweep starts its own processes; run it without torchrun, and set train.processes where a "
            "run is to have several"
        )
    wanted = of_seeds(sweep, seeds or ())
    executor = registry().find("executor", on)
    config = structure_config(executor.declared.config, dict(options or {}), on)
    choose_observers(log, without)  # a mistake is reported once, not by every run
    console = Silent() if quiet or reporter else Console(seconds=60.0)
    reporter = reporter or ConsoleSweepReporter(console)
    folder = SweepFolder(output or Path("sweeps", sweep.name))
    with log_shown(console), folder.locked() as lock:
        folder.tidy()
        outcomes, others = folder.outcomes_of(sweep)
        if others:
            reporter.message(
                f"{folder.path}: runs that this sweep does not name are left as they are: {len(others)}, "
                f"the first in {others[0].path}"
            )
        folder.write(sweep, outcomes)
        chosen = [outcome for outcome in outcomes if outcome.combination.short in wanted]
        waiting = [outcome for outcome in chosen if outcome.status != "finished"]
        if waiting:
            specs = [outcome.combination.spec for outcome in waiting]
            demand = Demand(device=device, jobs=jobs, specs=specs, tell=reporter.message, lock=lock)
            with contextlib.closing(executor.load()(config, demand)) as workers:
                _prepare(folder, specs)
                reporter.start(len(chosen) - len(waiting), len(chosen), workers.jobs)
                flags = observer_flags(log, without)
                _Queue(folder, sweep, outcomes, waiting, workers, reporter, flags).work()
    return folder, outcomes


@attrs.define
class _Queue:
    """The runs that are left, and those that are running."""

    folder: SweepFolder
    sweep: Sweep
    outcomes: list[Outcome]
    waiting: list[Outcome]
    workers: Workers
    reporter: SweepReporter
    flags: Sequence[str]
    running: list[Job] = attrs.field(factory=list, init=False)
    stopping: bool = attrs.field(default=False, init=False)
    losses: Counter[str] = attrs.field(factory=Counter, init=False)

    def work(self) -> None:
        """Run what is waiting, until nothing is left or a signal came; leaves no process."""
        from hacore.machine.interrupts import Interrupts

        try:
            with Interrupts() as interrupts:
                while self.running or (self.waiting and not interrupts.requested):
                    if interrupts.requested and not self.stopping:
                        self.stop()
                    self.start()
                    self.watch()
                    time.sleep(_LOOK_SECONDS)
        finally:
            for job in self.running:
                job.kill()
                if job.begun:
                    job.note(stopped=True)
            self.folder.write(self.sweep, self.outcomes)
            self.reporter.stop()

    def start(self) -> None:
        """Give the workers what they have room for."""
        while self.waiting and not self.stopping and self.workers.room():
            self.running.append(Job(self.folder, self.waiting.pop(0), self.workers, self.flags))

    def watch(self) -> None:
        """Note and report which runs began, ended and advanced."""
        began = [job for job in self.running if job.begins()]
        for job in began:
            job.outcome.status = "running"
            self.reporter.started(job.outcome)
        ended = [job for job in self.running if job.begun and job.ended()]
        for job in ended:
            self.end(job)
        if ended or began:
            self.folder.write(self.sweep, self.outcomes)
        self.reporter.progress([job.state() for job in self.running if job.begun])

    def end(self, job: Job) -> None:
        """Note how a run ended; one that lost its machine waits for another, some times."""
        self.running.remove(job)
        job.note(stopped=self.stopping)
        label = job.outcome.combination.label
        if job.lost and not self.stopping and self.losses[label] < _LOSSES:
            self.losses[label] += 1
            job.outcome.status = "interrupted"
            self.waiting.append(job.outcome)
        self.reporter.ended(job.outcome)

    def stop(self) -> None:
        """Ask the runs to leave; those that have not begun never do."""
        self.stopping = True
        self.reporter.message("stopping: the runs save their state; Ctrl-C again stops at once")
        for job in self.running:
            if job.begun:
                job.ask_to_stop()
            else:
                job.kill()
        self.running = [job for job in self.running if job.begun]


def _prepare(folder: SweepFolder, specs: Sequence[Spec]) -> None:
    """Write the specs, and open each data set once, so that runs do not prepare it at the same time."""
    from hacore.model.opening import open_dataset

    for spec in specs:
        write_whole(folder.spec_of(spec), dump_spec(spec).encode())
    opened: list[Use] = []
    for spec in specs:
        if spec.data in opened:
            continue
        opened.append(spec.data)
        with contextlib.suppress(HacoreError):  # the runs that need it fail, and say so
            open_dataset(spec.data)
