"""Fetching CLEVR v1.0: resumed where it stopped, checked and unpacked; its folder appears only then."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from hacore_packing.archive import unpack
from hacore_packing.folders import only_one
from hacore_packing.retrieve import retrieve

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore_clevr import DownloadConfig
from hacore_clevr.official import find_splits

_MB = 10**6


def download(config: DownloadConfig, tell: Tell) -> Outcome:
    """Fetches, checks and unpacks the archive into a folder of its name below ``output``.

    Interrupted at any point, the next call resumes: the transfer where it stopped, unpacking from its
    beginning. The folder appears only when it is complete. DataError when the server fails, the
    MD5 differs, the disk is full, or the archive is damaged or unsafe.
    """
    output = Path(config.output).expanduser() if config.output else cache_folder() / "clevr"
    archive = output / _file_name(config.url)
    folder = output / archive.stem
    with only_one(folder, tell):
        if folder.exists():
            return Outcome(summary={"already there": str(folder), "splits": _splits(folder)})
        started = time.monotonic()
        retrieve(config.url, archive, config.md5, tell)
        checked = f"{config.md5}, as expected"
        if not config.md5:
            tell.message("warning: the archive is not compared with an MD5, as --md5 is empty")
            checked = "not compared, as --md5 is empty"
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
