"""Unpacking a zip archive that came from elsewhere: nothing outside the folder, all or nothing."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import attrs

from hacore.errors import DataError
from hacore_packing.files import require_room

_PIECE = 1 << 20
_ENCRYPTED = 0x1


@attrs.frozen(kw_only=True)
class Unpacked:
    """How much was unpacked."""

    files: int
    bytes: int


def unpack(archive: Path, folder: Path, progress: Callable[[int, int], None]) -> Unpacked:
    """Unpacks into ``folder``, which is there only once everything is on the disk.

    If all files are in one folder of the archive, that one becomes ``folder``. progress: told bytes done and
    bytes in all. What an interruption left is removed first. DataError, with nothing left behind, when
    the archive is not a zip or is cut off, a member would leave the folder, is a link or is damaged (all
    of them are named), or there is no room.
    """
    work = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(work, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_safe(archive, opened.infolist())
            members = [member for member in opened.infolist() if not member.is_dir()]
            total = sum(member.file_size for member in members)
            require_room(folder.parent, total)
            _extract(archive, opened, members, work, total, progress)
        _flush()
        os.rename(work / _only_folder(members), folder)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(
            f"{archive}: is not a whole zip archive ({error}); delete it and download it again"
        ) from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be unpacked ({error}); make room and run again") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Unpacked(files=len(members), bytes=total)


def _check_safe(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    problems = []
    names: set[str] = set()
    for member in members:
        # Names that differ in case only are one file on some systems.
        name = member.filename.rstrip("/").lower()
        if problem := _unsafe(member) or ("is there twice" if name in names else ""):
            problems.append(f"{member.filename!r} {problem}")
        names.add(name)
    if problems:
        raise DataError(
            f"{archive}: {len(problems)} members cannot be unpacked safely: {'; '.join(problems)}; "
            "get the archive from another place"
        )


def _unsafe(member: zipfile.ZipInfo) -> str:
    """What is wrong with a member, "" for nothing."""
    name = member.orig_filename
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or any(mark in name for mark in "\\:\0"):
        return "leaves the folder"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    return ""


def _only_folder(members: list[zipfile.ZipInfo]) -> str:
    """The one folder that all files are in, "" if there is none."""
    paths = [PurePosixPath(member.filename).parts for member in members]
    tops = {parts[0] for parts in paths}
    inside = all(len(parts) > 1 for parts in paths)
    return tops.pop() if len(tops) == 1 and inside else ""


def _extract(
    archive: Path,
    opened: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    work: Path,
    total: int,
    progress: Callable[[int, int], None],
) -> None:
    work.mkdir(parents=True)
    damaged, done = [], 0
    for member in members:
        target = work / PurePosixPath(member.filename)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        try:
            with open(target, "wb") as file:
                for piece in _pieces(opened, member):
                    file.write(piece)
                    written += len(piece)
                    progress(done + written, total)
            if written != member.file_size:
                damaged.append(f"{member.filename}: {written} bytes found, {member.file_size} expected")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            damaged.append(f"{member.filename}: {error}")
        done += member.file_size
    if damaged:
        raise DataError(
            f"{archive}: {len(damaged)} of {len(members)} files are damaged ({'; '.join(damaged)}); "
            "delete it and download it again"
        )


def _pieces(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a member; its checksum is compared at the end."""
    with opened.open(member) as content:
        while piece := content.read(_PIECE):
            yield piece


def _flush() -> None:
    """Brings what was written to the disk before the folder gets its name."""
    if hasattr(os, "sync"):  # one call for 100,000 files
        os.sync()
