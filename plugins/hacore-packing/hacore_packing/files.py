"""Room for large files, and their checksums."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs

from hacore.errors import DataError


def require_room(folder: Path, needed: int, way_out: str = "make room or choose another folder") -> None:
    """DataError if fewer than ``needed`` bytes are free where the folder is or will be."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(f"{folder}: needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; {way_out}")


@attrs.frozen(kw_only=True)
class Content:
    """bytes, sha256: of a whole file."""

    bytes: int
    sha256: str


def content_of(path: Path, progress: Callable[[int], None] = lambda done: None) -> Content:
    """Reads a file; ``progress`` is told the bytes read so far."""
    digest, read = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(1 << 24):
            digest.update(piece)
            read += len(piece)
            progress(read)
    return Content(bytes=read, sha256=digest.hexdigest())
