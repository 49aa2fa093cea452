"""The shards of a store: each is written in a hidden file beside its place, and resumed.

A shard is a plain ``.npy``, (rows, N, C), which gets its name when it is whole. Imports no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import cattrs
from hacore_packing.arrays import ArrayWriter
from hacore_packing.locks import locked

from hacore.errors import DataError
from hacore.features.mapped import npy_header
from hacore.features.store import Description, Shard, index_file, wrong_size
from hacore.machine.files import write_whole


def shard_entry(path: Path) -> Path:
    """The file that says that the shard ``path`` is finished, and its checksum."""
    return path.with_suffix(".json")


def file_bytes(description: Description, first: int, last: int) -> int:
    """Bytes of the file that holds these rows."""
    count = last - first
    header = npy_header((count, *description.row), description.dtype)
    return len(header) + count * description.row_bytes


def save_table(path: Path, table: dict[str, Any]) -> None:
    """Write JSON, whole. RunError when it cannot be written."""
    write_whole(path, (json.dumps(table) + "\n").encode(), "--output")


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


def finished(root: Path, description: Description) -> dict[str, Shard]:
    """The shards that are there and whole by their size, by name."""
    shards = {}
    for part in description.images:
        for name, _, _ in description.shards(part):
            entry = _entry(shard_entry(root / name))
            if entry and not wrong_size(root / name, entry.bytes):
                shards[name] = entry
    return shards


def publish(root: Path, description: Description) -> list[str]:
    """Write the index of a store all of whose shards are there, else say which are not."""
    shards = finished(root, description)
    names = [name for part in description.images for name, _, _ in description.shards(part)]
    missing = [name for name in names if name not in shards]
    if not missing:
        save_table(index_file(root), {name: attrs.asdict(shards[name]) for name in names})
    return missing


def _entry(path: Path) -> Shard | None:
    if path.is_dir():  # what cannot be written is told before anything is made again
        raise DataError(f"{path}: is a folder; remove it, the shard is made again")
    try:
        return cattrs.structure(json.loads(path.read_bytes()), Shard)
    except Exception:  # missing or damaged: the shard is made again
        return None
