"""Runs a command that does not outlive the process that asked for it: ``guard.py COMMAND...``.

What it writes is locked until the last of its processes has ended, so that a second guard with the same
log, on whatever machine, waits for the first. When its parent is gone, or it is itself killed, the command
is sent SIGTERM, upon which a training saves its state and leaves. A program by itself, which imports nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

_LOOK_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Wait for the lock, run the command, return its status; a signal is negative."""
    import fcntl

    parent = os.getppid()
    stopped = False

    def stop(number: int, _: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    while True:
        try:
            fcntl.flock(1, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if stopped or os.getppid() != parent:
                return -signal.SIGTERM
            time.sleep(_LOOK_SECONDS)
        except OSError as error:
            print(f"hacore: the sweep's file system has no locks: {error.strerror}", flush=True)
            return 1
    process = subprocess.Popen(command, preexec_fn=_die_with_parent)
    asked = False
    while process.poll() is None:
        if not asked and (stopped or os.getppid() != parent):
            asked = True
            process.send_signal(signal.SIGTERM)
        time.sleep(_LOOK_SECONDS)
    return process.returncode


def _die_with_parent() -> None:
    """Where Linux offers it: SIGTERM for this process when the guard is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if status < 0:  # end as the command did
        if -status == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
