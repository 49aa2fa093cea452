"""Work for other processes, one job at a time each.

They are plain child processes that speak over pipes, so that a job whose process is killed is known by
name, and none is left when this process is killed. ``multiprocessing`` would import the user's main
script again in each, or fork a process that runs threads. Imports no torch, so that they start fast.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from importlib import import_module
from itertools import islice
from queue import SimpleQueue
from typing import Any, Protocol

from hacore.errors import DataError


class Job(Protocol):
    """Something to do, which can be pickled."""

    @property
    def what(self) -> str:
        """Names the job in an error: the file or the images it is about."""


def do_all(target: str, jobs: Sequence[Job], workers: int) -> Generator[Any, None, None]:
    """``target(job)`` of every job, in any order.

    target: ``module:function``. By up to ``workers`` processes at once, or in this one for one; a process
    has one thread of torch, if it uses torch. Raises what the function raises, and DataError if a process
    ends, as it does when memory runs out.
    """
    workers = min(workers, len(jobs))
    if workers < 2:
        yield from map(_function(target), jobs)
        return
    children = [_start_child(target) for _ in range(workers)]
    idle: SimpleQueue[_Child] = SimpleQueue()
    for child in children:
        idle.put(child)

    def ask(job: Job) -> Any:
        child = idle.get()
        try:
            return _ask(child, job)
        finally:
            idle.put(child)

    waiting = iter(jobs)
    pool = ThreadPoolExecutor(workers)
    try:
        # Twice as many as processes, so that none is idle; not all, so that memory holds the results.
        running = {pool.submit(ask, job) for job in islice(waiting, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                running |= {pool.submit(ask, job) for job in islice(waiting, 1)}
    finally:
        for child in children:
            child.kill()
        pool.shutdown(cancel_futures=True)
        for child in children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):  # what it no longer reads
                    pipe.close()  # type: ignore[union-attr]


_Child = subprocess.Popen[bytes]


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _start_child(target: str) -> _Child:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from hacore_packing.children import serve; serve({target!r})"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # One thread each: the processes share the cores.
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


def _ask(child: _Child, job: Job) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        pickle.dump(job, child.stdin)
        child.stdin.flush()
        result, raised = pickle.load(child.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{job.what}: the process that works on it ended (was it killed, or out of memory?); "
            "run again with fewer workers to resume"
        ) from error
    if raised is not None:
        raise raised
    return result


def serve(target: str) -> None:
    """What a child process does: jobs come on its input, results go to its output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and with it the input
    function = _function(target)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever is printed must not mix with the results
        while True:
            try:
                job = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            answer: tuple[Any, Exception | None]
            try:
                answer = function(job), None
            except Exception as error:
                answer = None, error
            try:
                pickle.dump(answer, out)
                out.flush()
            except BrokenPipeError:  # the parent was killed
                os._exit(1)
