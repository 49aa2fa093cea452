"""One shard of a store: written in a hidden file beside its place and resumed after an interruption.

A shard is a plain ``.npy``, (rows, N, C), which gets its name when it is whole. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore.machine.arrays import ArrayWriter
from hacore.machine.files import write_whole
from hacore.machine.locks import locked


@attrs.frozen(kw_only=True)
class Shard:
    """A finished shard. bytes, sha256: of the whole file. images: digests of its images, end to end."""

    bytes: int
    sha256: str
    images: str


def save_table(path: Path, table: dict[str, Any]) -> None:
    """Write JSON, whole. RunError when it cannot be written."""
    write_whole(path, (json.dumps(table) + "\n").encode(), "--output")


def image_digests(images: npt.NDArray[np.uint8]) -> list[str]:
    """16 hexadecimal digits for each of the images (I, 3, H, W)."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).hexdigest() for image in images]


def shard_entry(path: Path) -> Path:
    """The file that says that the shard ``path`` is finished, and its checksum."""
    return path.with_suffix(".json")


@contextmanager
def shard_writer(path: Path, shape: tuple[int, int, int], dtype: str) -> Iterator[ArrayWriter]:
    """What writes the rows (n, N, C) of a shard, each range with the digests of its images as its extra.

    Until ``finish_shard`` it writes into a hidden ``.part`` beside ``path``. DataError when another process
    is writing the same shard.
    """

    def busy() -> None:
        raise DataError(
            f"{path}: another process is writing it; wait for it or stop it, or start both together by "
            "torchrun"
        ) from None

    with locked(_lock(path), busy):
        yield ArrayWriter(
            path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.rows"), shape, dtype
        )


def finish_shard(writer: ArrayWriter, path: Path) -> None:
    """Give the shard its name, and say beside it that it is whole. ValueError while rows are missing."""
    written = writer.finish()
    images = "".join(digest for digests in writer.extras for digest in digests)
    shard = Shard(bytes=written.bytes, sha256=written.sha256, images=images)
    save_table(shard_entry(path), attrs.asdict(shard))
    os.replace(writer.path, path)
    writer.journal.unlink(missing_ok=True)
    with suppress(PermissionError):  # Windows removes no file that is open; there the lock removes its own
        _lock(path).unlink(missing_ok=True)


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
