"""One run of a sweep as a process of its own, and the places where such processes can work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import attrs

from hacore.errors import one_line
from hacore.runs import RunFolder
from hacore.spec import Spec, dump_spec
from hacore.sweeps._folder import Outcome, SweepFolder
from hacore.sweeps._progress import State

_TAIL = 16_384
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@attrs.frozen(kw_only=True)
class Slot:
    """Where a run can work: the device it is told, and what its environment adds."""

    device: str
    environment: dict[str, str]


def slots(device: str, specs: Sequence[Spec], jobs: int | None) -> list[Slot]:
    """A place for each of the runs that work at a time.

    jobs: how many; by default as many as the cores that this process may use have room for, or one
    for each GPU (for each group of as many as the runs have processes). More jobs than GPUs share them.
    Raises HacoreError when the device cannot be used.
    """
    import torch

    from hacore.workflow import choose_device

    processes = max(spec.train.processes for spec in specs)
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    one_thread = {name: os.environ.get(name, "1") for name in _THREADS}
    if device == "cpu" or (device == "auto" and not gpus):
        count = jobs or max(1, _cores() // max(map(_threads, specs)))
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


class Job:
    """A training at work. Its session is its own, so that a Ctrl-C of the terminal does not reach it."""

    def __init__(self, folder: SweepFolder, outcome: Outcome, slot: Slot, lock: int) -> None:
        """Start it: from its run folder where there is one, else from its spec."""
        self.outcome = outcome
        self.slot = slot
        self._folder = folder
        spec = outcome.combination.spec
        if outcome.folder is not None:
            what = ["--resume", str(outcome.folder.path)]
        else:
            what = [str(folder.spec_of(spec)), "--runs", str(folder.runs)]
        self._log = folder.log_of(spec)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            self._said = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hacore", "run", *what, "--device", slot.device],
                env={**os.environ, **slot.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
            )
        self._started = time.monotonic()

    def ended(self) -> bool:
        """Whether it has; then the outcome's folder is known."""
        running = self._process.poll() is None
        if self.outcome.folder is None:
            spec = self.outcome.combination.spec
            text = dump_spec(spec)
            # A run of another spec may be there under the same name.
            for file in self._folder.runs.glob(f"{spec.name}/[!.]*/spec.toml"):
                if file.read_text(encoding="utf-8") == text:
                    self.outcome.folder = RunFolder(file.parent)
        return not running

    def ask_to_stop(self) -> None:
        """It saves its state and leaves."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, now."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def note(self, stopped: bool) -> None:
        """Say in the outcome how it ended; ``stopped``: it had been asked to."""
        outcome = self.outcome
        if outcome.folder is not None and outcome.folder.result_file.is_file():
            outcome.status, outcome.error = "finished", None
        elif stopped:
            outcome.status = "interrupted"
        else:
            outcome.status, outcome.error = "failed", self._error()

    def state(self) -> State:
        """How far it is, from its metrics."""
        train = self.outcome.combination.spec.train
        line = _last_line(self.outcome.folder) if self.outcome.folder else {}
        done = line.get("epoch", 0.0) / train.epochs
        if train.steps is not None:
            done = max(done, line.get("step", 0) / train.steps)
        seconds = line.get("seconds", 0.0)
        return State(
            label=self.outcome.combination.label,
            done=min(done, 1.0),
            epoch=line.get("epoch"),
            accuracy=line.get("accuracy"),
            kept=line.get("kept"),
            seconds_left=seconds / done * (1 - done) if 0 < done <= 1 else None,
        )

    def _error(self) -> str:
        """The one line that says why, from what it said since it was started."""
        with open(self._log, "rb") as log:
            log.seek(self._said)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        code = self._process.returncode
        told = [line for line in lines if line.startswith("hacore: ")]
        if code < 0:
            cause = f"ended by signal {-code} ({signal.Signals(-code).name})"
        elif told:
            cause = "; ".join(line.removeprefix("hacore: ") for line in told)
        else:
            cause = lines[-1].strip() if lines else f"ended with status {code}"
        return one_line(cause)


def _last_line(folder: RunFolder) -> dict[str, Any]:
    """The last whole line of the metrics that is about training."""
    try:
        with open(folder.metrics_file, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return {}
    for line in reversed(re.findall(r"^(\{.*\})\n", text, re.MULTILINE)):
        values: dict[str, Any] = json.loads(line)
        if values.get("kind") == "train":
            return values
    return {}


def _threads(spec: Spec) -> int:
    """Threads of a run on the CPU; several processes share the cores unless the spec says otherwise."""
    train = spec.train
    if train.threads is None and train.processes > 1:
        return max(_cores(), train.processes)
    return (train.threads or 1) * train.processes


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
