"""Runs the combinations of a sweep, several at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hacore.console import Silent
from hacore.errors import HacoreError
from hacore.executors import Demand, Workers
from hacore.machine.files import write_whole
from hacore.observers import Named, choose_observers, observer_flags
from hacore.registry import registry
from hacore.spec import Spec, Sweep, dump_spec, structure_config, unstructure_config
from hacore.sweeps._folder import Outcome, SweepFolder
from hacore.sweeps._jobs import Job
from hacore.sweeps._reporting import ConsoleSweepReporter, SweepReporter

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
) -> tuple[SweepFolder, list[Outcome]]:
    """Run what the sweep folder does not have yet; returns it and what became of every run.

    output: the sweep folder, ``sweeps/NAME`` by default; what it holds is used: finished runs are not
    repeated, others resume from their last checkpoint. seeds: run only these of the sweep's. jobs: runs
    at a time; default: as many as the cores, or the GPUs, have room for. on: ``local``, this machine, or
    another executor, with its ``options``. log, without: of every run, see ``hacore.run``.
    A run that fails does not stop the others; one that loses its machine resumes on another. SIGTERM and
    Ctrl-C are passed on, the runs save their state and leave, and their outcome is "interrupted".
    Raises HacoreError when nothing can be run.
    """
    _refuse_torchrun()
    wanted = {combination.short for combination in sweep.of_seeds(seeds or ())}
    executor = registry().find("executor", on)
    config = structure_config(executor.declared.config, dict(options or {}), on)
    choose_observers(log, without)  # a mistake is reported once, not by every run
    reporter = reporter or ConsoleSweepReporter(Silent())
    folder = SweepFolder(output or Path("sweeps", sweep.name))
    with folder.locked() as lock:
        folder.tidy()
        outcomes, others = folder.found(sweep)
        if others:
            reporter.message(
                f"{folder.path}: runs that this sweep does not name are left as they are: {len(others)}, "
                f"the first in {others[0].path}"
            )
        folder.write(sweep, outcomes)
        chosen = [outcome for outcome in outcomes if outcome.combination.short in wanted]
        waiting = [outcome for outcome in chosen if outcome.status != "finished"]
        if not waiting:
            return folder, outcomes
        specs = [outcome.combination.spec for outcome in waiting]
        demand = Demand(device=device, jobs=jobs, specs=specs, tell=reporter.message, lock=lock)
        workers: Workers = executor.load()(config, demand)
        with contextlib.closing(workers):
            _prepare(folder, specs)
            reporter.start(len(chosen) - len(waiting), len(chosen), workers.jobs)
            try:
                _work(folder, sweep, outcomes, waiting, workers, reporter, observer_flags(log, without))
            finally:
                folder.write(sweep, outcomes)
                reporter.stop()
    return folder, outcomes


def _refuse_torchrun() -> None:
    from hacore.machine.processes import launched

    if launched():
        raise HacoreError(
            "a sweep starts its own processes; run it without torchrun, and set train.processes where a "
            "run is to have several"
        )


def _work(
    folder: SweepFolder,
    sweep: Sweep,
    outcomes: list[Outcome],
    waiting: list[Outcome],
    workers: Workers,
    reporter: SweepReporter,
    flags: Sequence[str],
) -> None:
    """Run what is waiting, until nothing is left or a signal came; leaves no process."""
    from hacore.machine.interrupts import Interrupts

    running: list[Job] = []
    asked = False
    losses: Counter[str] = Counter()
    try:
        with Interrupts() as interrupts:
            while running or (waiting and not interrupts.requested):
                if interrupts.requested and not asked:
                    asked = True
                    reporter.message("stopping: the runs save their state; Ctrl-C again stops at once")
                    for job in running:
                        if job.begun:
                            job.ask_to_stop()
                        else:
                            job.kill()
                    running = [job for job in running if job.begun]
                while waiting and not asked and workers.room():
                    running.append(Job(folder, waiting.pop(0), workers, flags))
                began = [job for job in running if job.begins()]
                for job in began:
                    job.outcome.status = "running"
                    reporter.started(job.outcome)
                ended = [job for job in running if job.begun and job.ended()]
                for job in ended:
                    running.remove(job)
                    job.note(stopped=asked)
                    if job.lost and not asked and losses[job.outcome.combination.label] < _LOSSES:
                        losses[job.outcome.combination.label] += 1
                        job.outcome.status = "interrupted"
                        waiting.append(job.outcome)
                    reporter.ended(job.outcome)
                if ended or began:
                    folder.write(sweep, outcomes)
                reporter.progress([job.state() for job in running if job.begun])
                time.sleep(_LOOK_SECONDS)
    finally:
        for job in running:
            job.kill()
            if job.begun:
                job.note(stopped=True)


def _prepare(folder: SweepFolder, specs: Sequence[Spec]) -> None:
    """Open each dataset once, so that runs do not prepare the same data at the same time; write the specs."""
    from hacore.model.opening import open_dataset

    opened = []
    for spec in specs:
        identity = spec.data.use, unstructure_config(spec.data.options)
        if identity not in opened:
            opened.append(identity)
            with contextlib.suppress(HacoreError):  # the runs that need it fail, and say so
                open_dataset(spec.data)
        write_whole(folder.spec_of(spec), dump_spec(spec).encode())
