"""Whether a pack that an earlier version made holds pictures that are read differently now.

Packs record the version of the reader, ``hacore.pictures.READER``; without one they were made by reader 1, a
bare ``convert("RGB")``. Most files read the same by both, as CLEVR's do, and packs of such files stay.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hacore.errors import DataError, RunError
from hacore.machine.commands import pasteable
from hacore.machine.files import write_json
from hacore.pictures import READER, open_picture, orientation
from hacore_packing.packs import PACK, Pack

LOOKED_AT = 64
"""Files that are decoded of those whose header does not tell: whether alpha is opaque, EXIF behind a PNG."""
_MANY = 10_000  # files whose headers take seconds

log = logging.getLogger("hacore")


def require_reader(pack: Pack, paths: Iterable[str | Path], renew: Sequence[str | Path]) -> None:
    """DataError if a file that the pack was made from is read differently now.

    paths: of the files, which may be gone; then nothing can be compared, and the pack is taken. renew: the
    words of the command that makes the pack again.
    """
    if path := otherwise_read(pack, paths):
        raise DataError(
            f"{pack.folder}: an earlier version of hacore packed it and read {path} differently (its EXIF "
            f"orientation, transparency or range of values); pack it again by: {pasteable(*renew)}"
        )


def otherwise_read(pack: Pack, paths: Iterable[str | Path]) -> str | None:
    """The first file found that is read differently now than when it was packed, None for none.

    Decodes only files whose header says that they may be: turned by EXIF, or of more than 8 bits; and of PNGs
    and of those with transparency ``LOOKED_AT``, spread evenly. A pack without such files is marked, so that
    this is done once; where its folder cannot be written, each time.
    """
    if pack.reader >= READER:
        return None
    files = sorted(map(str, paths))
    if len(files) > _MANY:
        log.info("%s: looking once at the headers of %d pictures", pack.folder, len(files))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged tags, as ``open_picture`` has it
        path = next(filter(_reads_differently, _to_compare(files)), None)
    if files and path is None:
        _mark(pack)
    return path


def _to_compare(files: Sequence[str]) -> Iterator[str]:
    """Those that have to be decoded."""
    some: list[str] = []
    for path in files:
        kind = _kind(path)
        if kind == "other":
            yield path
        elif kind == "some":
            some.append(path)
    yield from (some[place] for place in looked_at(len(some)).tolist())


def looked_at(count: int) -> npt.NDArray[np.int64]:
    """Rows of files that are decoded, from the first to the last."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(LOOKED_AT, count)).astype(np.int64))


def source_folder(pack: Pack, key: str) -> Path | None:
    """A folder that the pack says it was made from; None where it does not say, or the folder is gone."""
    source: Any = pack.source
    place = source.get(key) if isinstance(source, dict) else None
    return Path(place) if isinstance(place, str) and Path(place).is_dir() else None


def _kind(path: str) -> str:
    """By its header: "same" by both readers; "some" differ; "other", likely different."""
    try:
        with Image.open(path) as file:
            if file.mode.startswith(("I", "F")):
                return "other"
            # To ask a PNG for EXIF that is not in its header decodes it.
            if (file.format != "PNG" or "exif" in file.info) and orientation(file) != 1:
                return "other"
            return "some" if file.format == "PNG" or file.has_transparency_data else "same"
    except MemoryError:
        raise
    except Exception:  # damaged since, or gone: nothing to compare
        return "same"


def _reads_differently(path: str) -> bool:
    try:
        with Image.open(path) as file:
            before = file.convert("RGB")
    except MemoryError:
        raise
    except Exception:
        return False
    try:
        now = open_picture(path)
    except DataError:  # has values that are refused now
        return True
    return before.size != now.size or before.tobytes() != now.tobytes()


def _mark(pack: Pack) -> None:
    """Record that the pack is as this reader would have made it."""
    path = pack.folder / PACK
    with suppress(OSError, RunError):
        write_json(path, {**json.loads(path.read_bytes()), "reader": READER})
