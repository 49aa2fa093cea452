"""Keep freed memory for the next step, where the C library would give it back to the system."""

from __future__ import annotations

import ctypes
import sys

# From <malloc.h> of the GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


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
