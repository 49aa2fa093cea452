"""Sweeps: many runs of one spec, several at a time, in one folder. Importing this imports no torch."""

from hacore.plugin import Component, hookimpl
from hacore_sweep._folder import Outcome, Status, SweepFolder
from hacore_sweep._local import LocalWorkers
from hacore_sweep._reporting import ConsoleSweepReporter, State, SweepReporter
from hacore_sweep._run import run_sweep

__all__ = [
    "ConsoleSweepReporter",
    "LocalWorkers",
    "Outcome",
    "State",
    "Status",
    "SweepFolder",
    "SweepReporter",
    "run_sweep",
]

hacore_contract = 2


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="sweep",
            target="hacore_sweep.command:sweep",
            summary="Run every combination of a spec with a [sweep].",
        ),
        Component(
            kind="executor",
            name="local",
            target="hacore_sweep:LocalWorkers",
            summary="this machine, a process for each run",
        ),
    ]
