"""Fetching CLEVR v1.0: goes on where it stopped, compares the checksum, unpacks, and only then is there."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from hacore.data import cache_folder
from hacore.errors import DataError
from hacore.packing.archive import require_room, unpack
from hacore.packing.fetch import Progress, fetch
from hacore.packing.folders import only_one
from hacore.tools import Outcome, Tell
from hacore_clevr import DownloadConfig
from hacore_clevr.official import find_splits

_SAY = 60.0  # seconds between two lines about the rate
_MB, _GB = 10**6, 10**9


def download(config: DownloadConfig, tell: Tell) -> Outcome:
    """Fetches, checks and unpacks the archive into a folder of its name below ``output``.

    Interrupted at any point, the next call goes on: with the transfer where it stopped, with unpacking
    from its beginning. The folder is there only when it is complete. DataError when the server fails, the
    MD5 is another, there is no room, or the archive is damaged or unsafe.
    """
    output = Path(config.output).expanduser() if config.output else cache_folder() / "clevr"
    archive = output / _file_name(config.url)
    folder = output / archive.stem
    with only_one(folder, tell):
        if folder.exists():
            return Outcome(summary={"already there": str(folder), "splits": _splits(folder)})
        started = time.monotonic()
        if not archive.exists():
            _fetch(config, archive, tell)
        checked = _check(config, archive, tell)
        tell.message(f"unpacking {archive.name}")
        unpacked = unpack(
            archive, folder, lambda done, total: tell.progress("unpacking, MB", done // _MB, total // _MB)
        )
        if not config.keep_archive:
            archive.unlink()
        summary: dict[str, Any] = {
            "folder": str(folder),
            "splits": _splits(folder),
            "files": unpacked.files,
            "bytes": unpacked.bytes,
            "MD5": checked,
            "archive": str(archive) if config.keep_archive else "removed",
            "seconds": round(time.monotonic() - started, 1),
        }
        return Outcome(summary=summary)


def _splits(folder: Path) -> str:
    try:
        return ", ".join(find_splits(folder))
    except DataError:
        raise DataError(
            f"{folder}: is not CLEVR, it has no questions/CLEVR_*_questions.json; delete it, and give "
            "another address with --url"
        ) from None


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return name if name.endswith(".zip") and not name.startswith(".") else "CLEVR.zip"


def _part(archive: Path) -> Path:
    return archive.with_name(f".{archive.name}.part")


def _fetch(config: DownloadConfig, archive: Path, tell: Tell) -> None:
    part = _part(archive)
    said = time.monotonic() - _SAY + 10  # the first line after ten seconds, when the rate means something

    def begin(have: int, total: int | None) -> None:
        if total is None:
            tell.message(f"{config.url}: the server does not say how large it is")
            return
        # Pictures hardly compress, so what is unpacked is about as large; unpacking compares exactly.
        needed = 2 * total - have
        there = f", {have / _GB:.2f} GB of it are here" if have else ""
        tell.message(
            f"{config.url}: {total / _GB:.2f} GB{there}; with what is unpacked it needs about "
            f"{needed / _GB:.2f} GB more"
        )
        require_room(archive.parent, needed)

    def progress(it: Progress) -> None:
        nonlocal said
        if it.total is not None:
            tell.progress("downloading, MB", it.done // _MB, it.total // _MB)
        if time.monotonic() - said >= _SAY:
            said = time.monotonic()
            left = f", {(it.total - it.done) / it.rate / 60:.0f} minutes to go" if it.total else ""
            tell.message(f"{it.done / _GB:.2f} GB at {it.rate / _MB:.1f} MB/s{left}")

    fetch(config.url, part, begin=begin, progress=progress)


def _check(config: DownloadConfig, archive: Path, tell: Tell) -> str:
    """Compares the MD5 of what was fetched, and gives it the archive's name if it is right."""
    part = _part(archive)
    memory = part.with_name(f"{part.name}.json")
    path = archive if archive.exists() else part
    if config.md5 and (found := _md5(path, tell)) != config.md5:
        wrong = f"{config.url}: MD5 {found} found, {config.md5} expected"
        if path == archive:  # perhaps put there by the user
            raise DataError(f"{wrong} of {archive}; delete it and run again to fetch it")
        part.unlink()
        memory.unlink(missing_ok=True)
        raise DataError(f"{wrong}; what was fetched is removed, run again or give another address with --url")
    if path == part:
        os.replace(part, archive)
        memory.unlink(missing_ok=True)
    if config.md5:
        return f"{config.md5}, as expected"
    tell.message("warning: the archive is not compared with an MD5, as --md5 is empty")
    return "not compared, as --md5 is empty"


def _md5(path: Path, tell: Tell) -> str:
    digest, done, total = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with open(path, "rb") as file:
        while piece := file.read(1 << 24):
            digest.update(piece)
            done += len(piece)
            tell.progress("comparing the MD5, MB", done // _MB, total // _MB)
    return digest.hexdigest()
