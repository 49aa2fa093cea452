"""Runs a spec's ``train.processes`` processes on this machine, as torchrun would."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

from hacore.errors import RunError
from hacore.runs import RunFolder

_GRACE_SECONDS = 20.0


def run_processes(folder: RunFolder, processes: int, device: str, flags: Sequence[str] = ()) -> None:
    """Train the run of ``folder`` in several processes and wait for them.

    flags: further ones of ``hacore run``.
    The first process reports on this one's standard error and writes the result; what the others say
    is shown when one of them fails. SIGTERM and Ctrl-C go to the processes, which save their state
    and leave. When one fails, the others get 20 seconds to leave. Raises RunError when any failed.
    """
    with tempfile.TemporaryFile() as said:
        port = str(_free_port())
        workers = [
            _start(folder, rank, processes, port, ["--device", device, *flags], said)
            for rank in range(processes)
        ]
        try:
            _wait(workers)
        finally:
            for worker in workers:
                worker.kill()
        failed = [worker.returncode for worker in workers if worker.returncode]
        if failed:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            cause = f": {last[0]}" if last and not workers[0].returncode else ""
            raise RunError(
                f"{folder.path}: a training process ended with status {failed[0]}{cause}; "
                f"resume with: hacore run --resume {shlex.join([str(folder.path), *flags])}"
            )


def _start(
    folder: RunFolder, rank: int, processes: int, port: str, flags: Sequence[str], said: IO[bytes]
) -> subprocess.Popen[bytes]:
    place = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "hacore", "run", "--resume", str(folder.path), *flags],
        env={**os.environ, **place},
        stdout=subprocess.DEVNULL,
        stderr=None if rank == 0 else said,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(workers: list[subprocess.Popen[bytes]]) -> None:
    """Until all have ended, or some time after the first failure."""

    interrupted = 0

    def handle(number: int, _: Any) -> None:
        # A terminal sends Ctrl-C to the workers itself; the second one means at once.
        nonlocal interrupted
        interrupted += number == signal.SIGINT
        if interrupted > 1:
            raise KeyboardInterrupt
        if number == signal.SIGTERM:
            for worker in workers:
                worker.send_signal(number)

    old = {}
    if threading.current_thread() is threading.main_thread():
        old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    deadline = None
    try:
        while any(worker.poll() is None for worker in workers):
            if deadline is None and any(worker.returncode for worker in workers):
                deadline = time.monotonic() + _GRACE_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                return
            time.sleep(0.1)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
