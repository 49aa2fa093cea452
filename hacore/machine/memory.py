"""How much memory is free, what to do without, and keeping what a step freed from the C library."""

from __future__ import annotations

import ctypes
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from hacore.errors import RunError

# From <malloc.h> of the GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
# Of a GPU the error has a class of its own, of a CPU only words.
_NO_MEMORY = re.compile("out of memory|not enough memory|can't allocate memory")


def keep_freed_memory() -> bool:
    """Ask the GNU C library to reuse freed memory, for the whole process; says whether it will.

    By default the memory of large tensors goes back to the system when they are freed, and every step
    pays for fresh pages. Does nothing with another C library or system; a fifth of a step
    of experiments/han_rn.toml where it was measured.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 1 << 30, _TOP_PAD: 64 << 20}
    return all(mallopt(option, value) == 1 for option, value in options.items())


def free_memory() -> float:
    """Bytes that Linux has left for programs, within the limit of a container; infinite on other systems."""
    try:
        rows = [line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()]
    except OSError:
        return math.inf
    free = sum(int(row[1]) * 1024 for row in rows if row[0] in ("MemAvailable:", "SwapFree:"))
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError, StopIteration):  # without a limit the file says max
        used = next(line for line in (group / "memory.stat").read_text().splitlines() if line[:5] == "anon ")
        free = min(free, int((group / "memory.max").read_text()) - int(used[5:]))
    return free


@contextmanager
def enough_memory(what: str, way_out: str) -> Iterator[None]:
    """RunError, which says so of ``what``, where torch finds no memory for it."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY.search(str(error)):
            raise RunError(f"{what}: out of memory; {way_out}") from error
        raise
