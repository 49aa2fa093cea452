"""Image files to arrays, in this process or in others.

The others are plain child processes that speak over pipes. ``multiprocessing`` would import the user's main
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
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import attrs
import numpy as np
import numpy.typing as npt
from PIL import Image

from hacore.errors import DataError

Bytes = npt.NDArray[np.uint8]


@attrs.frozen(kw_only=True, eq=False)
class Job:
    """Image files to decode into rows from ``start`` of a split; size is (height, width)."""

    start: int
    paths: tuple[str, ...]
    size: tuple[int, int]


@attrs.frozen(kw_only=True, eq=False)
class Decoded:
    """images: (n, 3, height, width), rows of damaged files undefined. damage: what is wrong, a line each."""

    start: int
    images: Bytes
    damage: tuple[str, ...]


def read_image(path: str | Path, size: tuple[int, int]) -> Bytes:
    """(3, height, width): the file in RGB, resized unless it has the size already.

    By Pillow's bicubic filter, whose support grows with the reduction, so that every source pixel counts
    by its distance. A box has no weights, and the 3.75 by 2.5 from 480x320 to 128x128 does not divide
    evenly; Lanczos costs more and rings more at the edges of objects.
    """
    with Image.open(path) as file:
        image = file.convert("RGB")  # official files have an alpha channel that is opaque everywhere
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def decode(job: Job) -> Decoded:
    """Does a job; a damaged or missing file does not stop it."""
    images, damage = np.zeros((len(job.paths), 3, *job.size), np.uint8), []
    for row, path in enumerate(job.paths):
        try:
            images[row] = read_image(path, job.size)
        except FileNotFoundError:
            damage.append(f"{path}: the file is missing; unpack it again")
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise what their formats' parsers do
            damage.append(f"{path}: no image can be read ({error}); unpack it again")
    return Decoded(start=job.start, images=images, damage=tuple(damage))


def decode_all(jobs: Sequence[Job], workers: int) -> Generator[Decoded, None, None]:
    """The jobs' results in any order, by up to ``workers`` processes at once, or in this one for one.

    DataError if a process is killed, as it is when memory runs out.
    """
    workers = min(workers, len(jobs))
    if workers < 2:
        yield from map(decode, jobs)
        return
    children = [_start_child() for _ in range(workers)]
    idle: SimpleQueue[_Child] = SimpleQueue()
    for child in children:
        idle.put(child)

    def ask(job: Job) -> Decoded:
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


def _start_child() -> _Child:
    path = os.pathsep.join(it for it in sys.path if it)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from hacore.packing.decode import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


def _ask(child: _Child, job: Job) -> Decoded:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        pickle.dump(job, child.stdin)
        child.stdin.flush()
        answer: Decoded = pickle.load(child.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{job.paths[0]}: the process that decodes it and the next {len(job.paths)} ended "
            "(was it killed, or out of memory?); run again with fewer workers to go on"
        ) from error
    return answer


def serve() -> None:
    """What a child process does: jobs come on its input, results go to its output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and with it the input
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever is printed must not mix with the results
        while True:
            try:
                job = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            pickle.dump(decode(job), out)
            out.flush()
