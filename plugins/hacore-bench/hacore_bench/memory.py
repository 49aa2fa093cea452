"""Peak memory of a forward pass and of a training step.

On CUDA the allocator knows it. On a CPU the kernel keeps the most that a process had resident; it is read
in a process of its own, in which freed memory goes back to the system at once.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from hacore.errors import HacoreError, reason
from hacore.machine.processes import World
from hacore_bench.clock import clock_of
from hacore_bench.subject import Subject, open_subject
from hacore_bench.timing import out_of_memory
from hacore_bench.work import Work

Peaks = dict[str, dict[str, int]]
"""Bytes by "MODEL QUESTIONS", and by pass."""
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
"""The GNU C library then maps what is large and gives it back when it is freed."""


def peaks(subject: Subject, works: dict[str, Work], batch: Sequence[int]) -> Peaks:
    """Bytes beyond weights, optimiser state and the batch, of the second time that work is done."""
    found: Peaks = {}
    for name, work in works.items():
        for questions in batch:
            one = subject.batches(name, questions)[0]
            try:
                found[place(name, questions)] = {
                    "forward": _peak(lambda: work.forward(one), subject.device),  # noqa: B023
                    "step": _peak(lambda: work.training_step(one), subject.device),  # noqa: B023
                }
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
    return found


def peaks_in_another_process(
    target: str, overrides: Sequence[str], device: str, batch: Sequence[int], all_cells: bool
) -> tuple[Peaks, list[str]]:
    """The same of a CPU; with a note instead where it cannot be measured."""
    if not (_STATUS.exists() and _CLEAR.exists()):
        return {}, ["peak memory is not measured: it is read from Linux's /proc"]
    request = json.dumps([target, list(overrides), device, list(batch), all_cells])
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "hacore_bench.memory", request],
        env={**os.environ, **_AT_ONCE},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if ran.returncode == 0:
        found: Peaks = json.loads(ran.stdout)
        return found, []
    said = ran.stderr.strip().splitlines() or [f"its process ended with status {ran.returncode}"]
    return {}, [f"peak memory is not measured: {said[-1]}"]


def place(model: str, questions: int) -> str:
    """The key of ``Peaks``."""
    return f"{model} {questions}"


def _peak(work: Callable[[], None], device: torch.device) -> int:
    work()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(device) - before
    _give_back()
    _CLEAR.write_text("5", encoding="utf-8")  # the mark falls to what is resident now
    before = _resident("VmRSS")
    work()
    return max(0, _resident("VmHWM") - before)


def _give_back() -> None:
    """Free memory that the GNU C library keeps; another one keeps it."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def _resident(field: str) -> int:
    """Bytes: VmRSS, now, or VmHWM, the most since it was reset."""
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(request: str) -> None:
    """Prints the peaks of a request as JSON."""
    target, overrides, device, batch, all_cells = json.loads(request)
    subject = open_subject(target, overrides, device=device, all_cells=all_cells)
    World().share_cores(subject.spec.train.threads, subject.device)
    clock = clock_of(subject.device)
    works = {name: Work(subject, model, clock) for name, model in subject.models.items()}
    print(json.dumps(peaks(subject, works, batch)))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (HacoreError, OSError) as error:
        sys.exit(reason(error))
