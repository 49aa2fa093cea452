"""Runs a spec's ``train.processes`` processes on this machine, as torchrun would."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence

import torch.distributed as dist

from hacore.errors import RunError
from hacore.machine.commands import child_command, pasteable
from hacore.machine.interrupts import Interrupts
from hacore.runs import RunFolder

_GRACE_SECONDS = 20.0


def run_processes(folder: RunFolder, processes: int, device: str, flags: Sequence[str] = ()) -> None:
    """Train the run of ``folder`` in several processes and wait for them.

    flags: further ones of ``hacore run``.
    The first process reports on this one's standard error and writes the result; the last line of the
    others is shown when one of them fails. SIGTERM and Ctrl-C go to the processes, which save their state
    and leave; a second Ctrl-C ends them at once. When one fails, the others get 20 seconds to leave.
    Raises RunError when any failed.
    """
    # They meet at a store of this process, as under torchrun's agent: nobody can take its port before them.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    place = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": store.host,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    arguments = ["--resume", str(folder.path), "--device", device, *flags]
    workers: list[subprocess.Popen[bytes]] = []

    def terminate() -> None:
        for worker in workers:
            worker.terminate()

    with tempfile.TemporaryFile() as output:
        try:
            with Interrupts(terminate):
                for rank in range(processes):
                    worker = subprocess.Popen(
                        child_command("run", *arguments),
                        env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdout=subprocess.DEVNULL,
                        stderr=output if rank else None,
                    )
                    workers.append(worker)
                _wait(workers)
        finally:
            for worker in workers:
                worker.kill()
        failed = [worker.returncode for worker in workers if worker.returncode]
        if failed:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            cause = f": {last[0]}" if last and not workers[0].returncode else ""
            raise RunError(
                f"{folder.path}: a training process ended with status {failed[0]}{cause}; "
                f"resume with: {pasteable('hacore', 'run', '--resume', folder.path, *flags)}"
            )


def _wait(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until all have ended, or some time after the first failure."""
    deadline = None
    while any(worker.poll() is None for worker in workers):
        if deadline is None and any(worker.returncode for worker in workers):
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(0.1)
