"""One archive from a server: there must be room, the transfer is resumed, the checksum must be right."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from hacore.data_tools import Tell
from hacore.errors import DataError
from hacore_packing.fetch import Progress, fetch
from hacore_packing.files import require_room

_SAY = 60.0  # seconds between two lines about the rate
_MB, _GB = 10**6, 10**9


def retrieve(url: str, archive: Path, md5: str, tell: Tell, option: str = "--url") -> str:
    """Fetches an archive unless it is there, compares its MD5 unless ``md5`` is "", returns the MD5.

    Until then it is called ``.NAME.part``, so that what has the archive's name is whole and right.
    option: the option that gives another address, for messages. DataError when the server fails, the
    MD5 is another (what was fetched is removed, what was there is not), or there is no room for
    the archive and what is in it.
    """
    part = archive.with_name(f".{archive.name}.part")
    there = archive.exists()
    if not there:
        _fetch(url, part, tell, option)
    digest = file_md5(archive if there else part, tell)
    memory = part.with_name(f"{part.name}.json")
    if md5 and digest != md5:
        wrong = f"{url}: MD5 {digest} found, {md5} expected"
        if there:  # perhaps put there by the user
            raise DataError(f"{wrong} of {archive}; delete it and run again to fetch it")
        part.unlink()
        memory.unlink(missing_ok=True)
        raise DataError(
            f"{wrong}; what was fetched is removed, run again or give another address with {option}"
        )
    if not there:
        os.replace(part, archive)
        memory.unlink(missing_ok=True)
    return digest


def file_md5(path: Path, tell: Tell) -> str:
    """MD5 of a file, in hexadecimal digits."""
    digest, done, total = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with open(path, "rb") as file:
        while piece := file.read(1 << 24):
            digest.update(piece)
            done += len(piece)
            tell.progress("comparing the MD5, MB", done // _MB, total // _MB)
    return digest.hexdigest()


def _fetch(url: str, part: Path, tell: Tell, option: str) -> None:
    last_line = (
        time.monotonic() - _SAY + 10
    )  # the first line after ten seconds, when the rate means something

    def begin(have: int, total: int | None) -> None:
        if total is None:
            tell.message(f"{url}: the server does not say how large it is")
            return
        # Pictures hardly compress, so what is unpacked is about as large; unpacking compares exactly.
        needed = 2 * total - have
        part_here = f", {have / _GB:.2f} GB of it are here" if have else ""
        tell.message(
            f"{url}: {total / _GB:.2f} GB{part_here}; with what is unpacked it needs about "
            f"{needed / _GB:.2f} GB more"
        )
        require_room(part.parent, needed)

    def progress(at: Progress) -> None:
        nonlocal last_line
        if at.total is not None:
            tell.progress("downloading, MB", at.done // _MB, at.total // _MB)
        if time.monotonic() - last_line >= _SAY:
            last_line = time.monotonic()
            left = f", {(at.total - at.done) / at.rate / 60:.0f} minutes to go" if at.total else ""
            tell.message(f"{at.done / _GB:.2f} GB at {at.rate / _MB:.1f} MB/s{left}")

    fetch(url, part, begin=begin, progress=progress, option=option)
