"""The machines of a Ray cluster as a place for the runs of a sweep."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import chdir
from pathlib import Path
from typing import Any

from hacore_sweep.executors import Demand, Ended, Work

from hacore.errors import HacoreError, one_line
from hacore.machine.threads import WAITING
from hacore.spec import Spec, dump_spec
from hacore_ray import Config
from hacore_ray.trainer import Task, Trainer

# Ray would send statistics of its use to its makers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray would warn of every actor without a GPU, on every start.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayActorError, RayError

_INSTRUCTIONS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_PASSED_ON = ("PYTHONPATH", "TORCH_HOME", "XDG_CACHE_HOME", *WAITING, *_INSTRUCTIONS)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_KILL_SECONDS = 10.0


class RayWorkers:
    """Gives every run to Ray, which starts it where its CPUs and GPUs are free.

    Variables of the environment that change what a run does (HACORE_*, PYTHONPATH, TORCH_HOME, numbers of
    threads, instructions that torch may use) go with it. Raises HacoreError when there is no cluster, or for
    a device that it cannot choose.
    """

    def __init__(self, config: Config, demand: Demand) -> None:
        self._config = config
        self._limit = demand.jobs
        self._running: list[RayProcess] = []
        self._connected = not ray.is_initialized()
        if demand.device not in ("auto", "cpu", "cuda"):
            raise HacoreError(f"--device {demand.device}: Ray chooses the GPU; use auto, cpu or cuda")
        if self._connected:
            _connect(config.address)
        try:
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            gpus = any(resources.get("GPU") for resources in machines)
            if demand.device == "cuda" and not gpus:
                raise HacoreError("--device cuda: the Ray cluster has no GPU; use auto or cpu")
            self._device = "cuda" if gpus and demand.device != "cpu" else "cpu"
            largest = max((self._needs(spec) for spec in demand.specs), key=lambda need: (need[1], need[0]))
            room = sum(_room(machine, *largest) for machine in machines)
        except BaseException:
            self.close()
            raise
        self.jobs = min(demand.jobs or room, room, len(demand.specs))
        if not room:
            demand.tell(
                f"no machine of the Ray cluster has room for a run, which takes {_words(*largest)}; runs "
                "wait until one joins, or take less with --with cpus= and gpus="
            )

    def room(self) -> bool:
        self._running = [process for process in self._running if process.ended() is None]
        return self._limit is None or len(self._running) < self._limit

    def start(self, work: Work) -> RayProcess:
        cpus, gpus = self._needs(work.spec)
        here = Path.cwd()
        task = Task(
            folder=str(here),
            spec_file=str(work.spec_file),
            spec_text=dump_spec(work.spec),
            arguments=(*work.arguments, "--device", self._device),
            log=str(work.log),
            environment=_environment(),
        )
        actor = ray.remote(Trainer).options(num_cpus=cpus, num_gpus=gpus, max_concurrency=2).remote(task)
        process = RayProcess(actor)
        self._running.append(process)
        return process

    def close(self) -> None:
        if self._connected:
            ray.shutdown()

    def _needs(self, spec: Spec) -> tuple[float, float]:
        """(CPUs, GPUs) of a run."""
        train = spec.train
        cpus: float = (train.threads or 1) * train.processes
        gpus: float = train.processes if self._device == "cuda" else 0
        if self._config.cpus is not None:
            cpus = self._config.cpus
        if self._config.gpus is not None and self._device == "cuda":
            gpus = self._config.gpus
        return cpus, gpus


class RayProcess:
    """A training in an actor of its own."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._started = actor.start.remote()
        self._done: Any = None
        self._end: Ended | None = None

    def begun(self) -> bool:
        if self._done is None and self._end is None and _ready(self._started):
            try:
                if problem := ray.get(self._started):
                    self._finish(Ended(status=1, cause=problem))
                else:
                    self._done = self._actor.wait.remote()
            except RayError as error:
                self._finish(_lost(error))
        return self._done is not None or self._end is not None

    def ended(self) -> Ended | None:
        if self.begun() and self._end is None and _ready(self._done):
            try:
                self._finish(Ended(status=ray.get(self._done)))
            except RayError as error:
                self._finish(_lost(error))
        return self._end

    def ask_to_stop(self) -> None:
        self._actor.send.remote(int(signal.SIGTERM))

    def kill(self) -> None:
        if self.ended() is None and self._done is not None:
            self._actor.send.remote(int(signal.SIGKILL))
            ray.wait([self._done], timeout=_KILL_SECONDS)
        ray.kill(self._actor)

    def _finish(self, end: Ended) -> None:
        self._end = end
        ray.kill(self._actor)  # gives its CPUs and GPUs back now, not when it is collected


def _connect(address: str) -> None:
    try:
        # Ray puts the working folder first on the import path of its processes, where a user's random.py
        # would take the place of Python's.
        with chdir(Path(__file__).parent):
            ray.init(
                address=address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # Ray raises errors of many kinds
        text = one_line(" ".join(str(error).split())).rstrip(".")
        problem = "no Ray cluster is found" if address == "auto" else f"no Ray cluster at '{address}': {text}"
        raise HacoreError(
            f"{problem}; start one with 'ray start --head', name another as in --with address=10.0.0.1:6379, "
            "or use this machine alone with --with address=local"
        ) from error


def _environment() -> dict[str, str]:
    """The variables of this process that the training gets."""
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or (name.startswith("HACORE_") and value)
    }
    return {**passed_on, **{name: os.environ.get(name, "1") for name in _THREADS}}


def _room(machine: dict[str, float], cpus: float, gpus: float) -> int:
    """Runs that fit a machine with these resources."""
    fits = [int(machine.get(name, 0) // need) for name, need in (("CPU", cpus), ("GPU", gpus)) if need]
    return min(fits, default=1)


def _words(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")


def _ready(reference: Any) -> bool:
    ready, _ = ray.wait([reference], timeout=0)
    return bool(ready)


def _lost(error: RayError) -> Ended:
    loss = "its machine, or Ray's process there, was lost" if isinstance(error, RayActorError) else "Ray"
    lines = str(error).strip().splitlines() or [""]
    return Ended(status=None, cause=one_line(f"{loss}: {lines[-1].strip()}"))
