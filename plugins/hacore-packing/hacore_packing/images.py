"""The images of a split, decoded and packed; and how a dataset says so when it is opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from hacore.console import Console
from hacore.data_tools import Tell
from hacore.errors import DataError
from hacore.machine.threads import cores
from hacore_packing.children import do_all
from hacore_packing.decode import Job
from hacore_packing.writer import SHARD, PackedImages, PackWriter

log = logging.getLogger("hacore")
# A ``Tell`` for where a dataset is opened: the log, and of progress a line every half minute.
LogTell = partial(Console, log.info, seconds=30.0)
_NAMED = 20  # problems that an error lists before it only counts them


def pack_images(
    writer: PackWriter, paths: Sequence[str], workers: int, tell: Tell, what: str, way_out: str
) -> tuple[int, list[tuple[int, str]]]:
    """Packs the images that are not packed yet.

    paths: of all rows of the writer. workers: processes that decode, 0 for one a core. what: the name of
    this work. way_out: what to do about a damaged file. Returns how many images were packed, and of others
    (row, what is wrong in a line), in the order of the rows.
    """
    before = count = writer.done
    size = writer.shape[2], writer.shape[3]
    jobs = [
        Job(start=start, paths=tuple(paths[start:stop]), size=size, way_out=way_out)
        for start, stop in writer.missing(SHARD)
    ]
    damage: list[tuple[int, str]] = []
    # Closed, so that no process is left when this loop is interrupted.
    with closing(do_all("hacore_packing.decode:decode", jobs, workers or cores())) as results:
        for result in results:
            damage += result.damage
            if not result.damage:
                writer.write(result.start, result.images)
            count += len(result.images)
            tell.progress(what, count, writer.shape[0])
    return writer.done - before, sorted(damage)


def finish_images(writer: PackWriter, tell: Tell, name: str) -> PackedImages:
    """Reads the finished file back for its checksum."""
    total = writer.path.stat().st_size
    return writer.finish(lambda done: tell.progress(f"checksum of {name}, MB", done // 10**6, total // 10**6))


def raise_problems(root: Path, problems: Sequence[str], command: str) -> None:
    """DataError that lists the first problems and says which command lists all; nothing without any."""
    if problems:
        count = len(problems)
        more = [f"and {count - _NAMED} more"] if count > _NAMED else []
        last = f"{root}: {count} found; fix the data, and see all by: {command}"
        raise DataError("\n".join([*problems[:_NAMED], *more, last]))
