"""How fast training reads stored features, against one plain NumPy array that is mapped into memory.

    python benchmarks/features.py                            # 4 GB in a temporary folder
    python benchmarks/features.py --folder /mnt/disk --images 20000
    python benchmarks/features.py --images 300 --repeats 1   # does the program work?

Random float16 features of 10x10 cells of 2048 channels, as a ResNet-101 gives, 400 KB an image, are
written as the shards of a store and once more as one ``.npy``. Both are read in batches, each batch
copied into an array of its own, as training does:

    sequential   images in the order of the file
    shuffled     images in random order
    blocks       blocks of images in random order, and the images of a block in random order, as the
                 sampler has them with train.block_images; the store is told of each block beforehand

Warm: the files are in the system's page cache, the speed is that of memory. Cold: the pages are dropped
before each reading (posix_fadvise, so not on every system), the speed is that of the disk; what lies
below the system, such as the cache of a virtual machine's host, cannot be dropped. The alternatives take
turns; medians of the repeats. Ratios, of one run, are what to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hacore_features.make import SHARD_BYTES
from hacore_features.shards import finish_shard, shard_writer
from rich.console import Console
from rich.table import Table

from hacore.data import Questions
from hacore.features.mapped import MappedFeatures
from hacore.train.sampler import Sampler

CELLS, CHANNELS, DTYPE = 100, 2048, "float16"
ORDERS = ("sequential", "shuffled", "blocks")
Rows = npt.NDArray[np.int64]


def write(folder: Path, images: int) -> tuple[list[Path], int, Path]:
    """The shards, rows of a shard, and the one plain file; the same values in both."""
    random = np.random.default_rng(0)
    rows = SHARD_BYTES // (CELLS * CHANNELS * 2)
    plain = np.lib.format.open_memmap(
        folder / "plain.npy", mode="w+", dtype=DTYPE, shape=(images, CELLS, CHANNELS)
    )
    shards = []
    for first in range(0, images, rows):
        shards.append(folder / f"train-{len(shards):05d}.npy")
        stop = min(first + rows, images)
        with shard_writer(shards[-1], (stop - first, CELLS, CHANNELS), DTYPE) as writer:
            for start in range(first, stop, 32):
                count = min(32, stop - start)
                values = random.integers(0, 1 << 14, (count, CELLS, CHANNELS), np.uint16).view(np.float16)
                writer.write(start - first, values, ["0" * 16] * count)
                plain[start : start + count] = values
            finish_shard(writer, shards[-1])
    plain.flush()
    return shards, rows, folder / "plain.npy"


def batches(order: str, images: int, batch: int, block: int) -> Iterator[tuple[Rows, list[tuple[int, int]]]]:
    """Rows of each batch in ascending order, as training asks for them, and the ranges to read ahead."""
    if order == "sequential":
        for start in range(0, images, batch):
            yield np.arange(start, min(start + batch, images)), []
        return
    one_each = Questions(
        words=np.full(images, 2),
        offsets=np.arange(images + 1),
        image=np.arange(images),
        answer=np.zeros(images, np.int64),
        type=np.zeros(images, np.int64),
        ids=np.arange(images),
    )
    sampler = Sampler(
        one_each,
        batch_images=batch,
        questions_per_image=None,
        block_images=block if order == "blocks" else None,
        seed=0,
    )
    for step in range(sampler.steps_per_epoch):
        yield np.sort(sampler.rows(step)), sampler.blocks(step)


def drop(paths: list[Path]) -> None:
    """Take the files out of the page cache."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(reader: Any, plan: list[tuple[Rows, list[tuple[int, int]]]]) -> float:
    """Seconds to copy every batch out."""
    start = time.perf_counter()
    for rows, ahead in plan:
        if ahead and isinstance(reader, MappedFeatures):
            reader.will_need(ahead)
        if isinstance(reader, MappedFeatures) or rows[-1] - rows[0] >= len(rows):
            reader[rows]
        else:
            np.array(reader[rows[0] : rows[-1] + 1])  # as one would write it
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reading stored features against plain NumPy.")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--block", type=int, default=1024, help="images of a block")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    if min(given.images, given.batch, given.block, given.repeats) < 1:
        parser.error("--images, --batch, --block and --repeats must be at least 1")
    caches = ["warm", *(["cold"] if hasattr(os, "posix_fadvise") else [])]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        shards, rows, plain = write(Path(name), given.images)
        shape = (given.images, CELLS, CHANNELS)
        size = int(np.prod(shape)) * 2

        def opened(which: str) -> Any:
            # Anew each time: pages that a process has mapped stay in the cache.
            if which == "store":
                return MappedFeatures(shards, rows, shape, DTYPE)
            return np.load(plain, mmap_mode="r")

        some = np.array([0, given.images // 2, given.images - 1])
        assert np.array_equal(opened("store")[some], opened("plain")[some])
        for cache in caches:
            for order in ORDERS:
                plan = list(batches(order, given.images, given.batch, given.block))
                seconds: dict[str, list[float]] = {"store": [], "plain": []}
                for _ in range(given.repeats):
                    for which, times in seconds.items():
                        if cache == "cold":
                            drop([*shards, plain])
                        elif not times:
                            read(opened(which), plan)  # brings the pages in
                        times.append(read(opened(which), plan))
                gbs = {which: size / 1e9 / statistics.median(times) for which, times in seconds.items()}
                figures[f"{cache} {order}"] = {**gbs, "ratio": gbs["store"] / gbs["plain"]}
    title = (
        f"{given.images:,} images of {CELLS}x{CHANNELS} {DTYPE}, {size / 1e9:.1f} GB, batches of "
        f"{given.batch}, blocks of {given.block}; {platform.machine()}, NumPy {np.__version__}"
    )
    table = Table(title=title)
    for column in ("cache", "order", "store, GB/s", "plain, GB/s", "store / plain"):
        table.add_column(column, justify="left" if column in ("cache", "order") else "right")
    for key, rates in figures.items():
        table.add_row(*key.split(), f"{rates['store']:.2f}", f"{rates['plain']:.2f}", f"{rates['ratio']:.2f}")
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps({"title": title, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
