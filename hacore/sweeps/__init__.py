"""Sweeps: many runs of one spec, several at a time, in one folder. Importing this imports no torch."""

from hacore.sweeps._folder import Outcome, Status, SweepFolder
from hacore.sweeps._local import LocalWorkers
from hacore.sweeps._reporting import ConsoleSweepReporter, State, SweepReporter
from hacore.sweeps._run import run_sweep

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
