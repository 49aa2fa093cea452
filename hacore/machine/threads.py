"""How many threads there is room for, and how those of OpenMP, which torch uses, wait. Imports no torch."""

from __future__ import annotations

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables of the environment that say it: OpenMP's own, libgomp's, and those of LLVM's and Intel's."""

SHORT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""Look for some microseconds, then sleep. Of libgomp the policy alone sleeps at once."""


def sleep_while_waiting() -> None:
    """Let threads that wait sleep soon, here and in child processes, unless the environment says otherwise.

    OpenMP reads it when it is loaded, so call this before torch is imported. By default a thread that waits
    spins for a while, libgomp's 300,000 times: it keeps a core from the thread that it waits for
    where other programs want the cores too. What is computed stays the same.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ.update(SHORT)


def cores() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
