"""How the threads of OpenMP, which torch computes with on a CPU, wait for each other. Imports no torch."""

from __future__ import annotations

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables of the environment that say it: OpenMP's own, libgomp's, and those of LLVM's and Intel's."""


def sleep_while_waiting() -> None:
    """Let threads that wait sleep, in this process and its children, unless the environment says otherwise.

    OpenMP reads it when it is loaded, so call this before torch is imported. By default a thread that waits
    spins for a while, libgomp's 300,000 times: it keeps a core from the thread that it waits for
    where other programs want the cores too. What is computed stays the same.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
