"""Runs the combinations of a sweep, several at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from pathlib import Path

from hacore.errors import HacoreError
from hacore.files import write_whole
from hacore.spec import Sweep, dump_spec, unstructure_config
from hacore.sweeps._folder import Outcome, SweepFolder
from hacore.sweeps._jobs import Job, Slot, slots
from hacore.sweeps._progress import SilentSweep, SweepReporter

_LOOK_SECONDS = 0.2


def run_sweep(
    sweep: Sweep,
    *,
    output: str | Path | None = None,
    seeds: Collection[int] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    reporter: SweepReporter | None = None,
) -> tuple[SweepFolder, list[Outcome]]:
    """Run what the sweep folder does not have yet; returns it and what became of every run.

    output: the sweep folder, ``sweeps/NAME`` by default; what it holds is used: finished runs are not
    repeated, others go on from their last checkpoint. seeds: run only these of the sweep's. jobs: runs
    at a time; default: as many as the cores, or the GPUs, have room for. A run that fails does not stop
    the others. SIGTERM and Ctrl-C are passed on, the runs save their state and leave, and their outcome
    is "interrupted".
    Raises HacoreError when nothing can be run.
    """
    from hacore.train.distributed import launched

    if launched():
        raise HacoreError(
            "a sweep starts its own processes; leave torchrun away, and set train.processes where a "
            "run is to have several"
        )
    known = sorted({it.seed for it in sweep.combinations})
    if strange := sorted(set(seeds or ()) - set(known)):
        raise HacoreError(
            f"seed {strange[0]} is none of the sweep's, which are {', '.join(map(str, known))}; "
            "add it to seeds in the spec"
        )
    reporter = reporter or SilentSweep()
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
        chosen = [it for it in outcomes if not seeds or it.combination.seed in seeds]
        waiting = [outcome for outcome in chosen if outcome.status != "finished"]
        if not waiting:
            return folder, outcomes
        places = slots(device, [outcome.combination.spec for outcome in waiting], jobs)[: len(waiting)]
        _prepare(waiting)
        for outcome in waiting:
            spec = outcome.combination.spec
            write_whole(folder.spec_of(spec), dump_spec(spec).encode())
        reporter.start(len(chosen) - len(waiting), len(chosen), len(places))
        try:
            _work(folder, sweep, outcomes, waiting, places, lock, reporter)
        finally:
            folder.write(sweep, outcomes)
            reporter.stop()
    return folder, outcomes


def _work(
    folder: SweepFolder,
    sweep: Sweep,
    outcomes: list[Outcome],
    waiting: list[Outcome],
    places: list[Slot],
    lock: int,
    reporter: SweepReporter,
) -> None:
    """Run what is waiting on the places, until nothing is left or a signal came; leaves no process."""
    from hacore.train.interrupt import Interrupts

    running: list[Job] = []
    asked = False
    try:
        with Interrupts() as interrupts:
            while running or (waiting and not interrupts.requested):
                if interrupts.requested and not asked:
                    asked = True
                    reporter.message("stopping: the runs save their state; Ctrl-C again stops at once")
                    for job in running:
                        job.ask_to_stop()
                ended = [job for job in running if job.ended()]
                for job in ended:
                    running.remove(job)
                    places.append(job.slot)
                    job.note(stopped=asked)
                    reporter.ended(job.outcome)
                started = [] if interrupts.requested else _start(folder, waiting, places, lock, reporter)
                running += started
                if ended or started:
                    folder.write(sweep, outcomes)
                reporter.progress([job.state() for job in running])
                time.sleep(_LOOK_SECONDS)
    finally:
        for job in running:
            job.kill()
            job.note(stopped=True)


def _start(
    folder: SweepFolder, waiting: list[Outcome], places: list[Slot], lock: int, reporter: SweepReporter
) -> list[Job]:
    """A run on every free place, in the order of the sweep."""
    started = []
    while waiting and places:
        outcome = waiting.pop(0)
        reporter.started(outcome)
        outcome.status = "running"
        started.append(Job(folder, outcome, places.pop(0), lock))
    return started


def _prepare(waiting: list[Outcome]) -> None:
    """Open each data set once, so that runs do not prepare the same data at the same time."""
    from hacore.workflow import open_dataset

    seen = []
    for outcome in waiting:
        data = outcome.combination.spec.data
        if (data.use, unstructure_config(data.options)) in seen:
            continue
        seen.append((data.use, unstructure_config(data.options)))
        with contextlib.suppress(HacoreError):  # the runs that need it fail, and say so
            open_dataset(data)
