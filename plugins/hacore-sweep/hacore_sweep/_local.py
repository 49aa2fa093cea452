"""The runs of a sweep as processes on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence

import attrs

from hacore.machine.commands import child_command
from hacore.machine.threads import cores
from hacore.plugin import NoOptions
from hacore.spec import Spec
from hacore_sweep.executors import Demand, Ended, Work

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@attrs.frozen(kw_only=True)
class Slot:
    """Where a run can work: the device it is told, and what its environment adds."""

    device: str
    environment: dict[str, str]


def slots(device: str, specs: Sequence[Spec], jobs: int | None) -> list[Slot]:
    """A place for each of the runs that are worked on at a time.

    jobs: how many; by default as many as the cores that this process may use have room for, or one
    for each GPU (for each group of as many as the runs have processes). More jobs than GPUs share them.
    Raises HacoreError when the device cannot be used.
    """
    import torch

    from hacore.machine.device import choose_device

    processes = max(spec.train.processes for spec in specs)
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    one_thread = {name: os.environ.get(name, "1") for name in _THREADS}
    if device == "cpu" or (device == "auto" and not gpus):
        count = jobs or max(1, cores() // max(map(_threads, specs)))
        return [Slot(device="cpu", environment=one_thread)] * count
    if device not in ("auto", "cuda") or not gpus:
        # Asked only where it is not known to be there: asking takes memory of the device.
        known = re.fullmatch(r"cuda:(\d+)", device)
        name = device if known and int(known[1]) < gpus else str(choose_device(device))
        return [Slot(device=name, environment=one_thread)] * (jobs or 1)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) >= gpus and all(visible) else [str(index) for index in range(gpus)]
    groups = [names[first : first + processes] for first in range(0, gpus - processes + 1, processes)]
    groups = groups or [names]
    return [
        Slot(
            device="cuda",
            environment={**one_thread, "CUDA_VISIBLE_DEVICES": ",".join(groups[index % len(groups)])},
        )
        for index in range(jobs or len(groups))
    ]


class LocalWorkers:
    """The cores or GPUs of this machine."""

    def __init__(self, config: NoOptions, demand: Demand) -> None:
        self._free = slots(demand.device, demand.specs, demand.jobs)[: len(demand.specs)]
        self._lock = demand.lock
        self.jobs = len(self._free)

    def room(self) -> bool:
        return bool(self._free)

    def start(self, work: Work) -> LocalProcess:
        return LocalProcess(work, self._free, self._lock)

    def close(self) -> None: ...


class LocalProcess:
    """A training at work. Its session is its own, so that a Ctrl-C of the terminal does not reach it."""

    def __init__(self, work: Work, free: list[Slot], lock: int | None) -> None:
        """Start it on a slot of ``free``, which gets it back at the end."""
        self._free = free
        self._slot: Slot | None = free.pop(0)
        with open(work.log, "ab") as log:
            self._process = subprocess.Popen(
                child_command(*work.arguments, "--device", self._slot.device),
                env={**os.environ, **self._slot.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=() if lock is None else (lock,),
            )

    def begun(self) -> bool:
        return True

    def ended(self) -> Ended | None:
        status = self._process.poll()
        if status is None:
            return None
        if self._slot is not None:
            self._free.append(self._slot)
            self._slot = None
        return Ended(status=status)

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _threads(spec: Spec) -> int:
    """Threads of a run on the CPU; several processes share the cores unless the spec says otherwise."""
    train = spec.train
    if train.threads is None and train.processes > 1:
        return max(cores(), train.processes)
    return (train.threads or 1) * train.processes
