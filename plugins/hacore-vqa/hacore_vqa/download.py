"""Fetching VQA v2 and the photographs of COCO: resumed where it stopped, and checked."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import attrs
from hacore_packing.archive import unpack
from hacore_packing.folders import only_one
from hacore_packing.retrieve import retrieve

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.commands import pasteable
from hacore_vqa import DownloadConfig
from hacore_vqa.official import V2

_MB = 10**6
MEMORY = "downloaded.json"
"""File in the folder that remembers each archive that was unpacked, with its MD5."""


@attrs.frozen(kw_only=True)
class Archive:
    """An archive of the official data.

    holds: the file or folder to take from it. test: belongs to test2015. md5: "" where none is published;
    it is then computed once and remembered.
    """

    name: str
    holds: tuple[str, ...]
    image: bool = False
    test: bool = False
    md5: str = ""


def _archives() -> tuple[Archive, ...]:
    splits = V2.splits
    texts = [
        Archive(name="v2_Questions_Train_mscoco.zip", holds=(splits["train"].questions,)),
        Archive(name="v2_Questions_Val_mscoco.zip", holds=(splits["val"].questions,)),
        Archive(
            name="v2_Questions_Test_mscoco.zip",
            holds=(splits["test"].questions, splits["test-dev"].questions),
            test=True,
        ),
        Archive(name="v2_Annotations_Train_mscoco.zip", holds=(splits["train"].annotations,)),
        Archive(name="v2_Annotations_Val_mscoco.zip", holds=(splits["val"].annotations,)),
    ]
    images = [
        Archive(
            name="train2014.zip", holds=("train2014",), image=True, md5="0da8c0bd3d6becc4dcb32757491aca88"
        ),
        Archive(name="val2014.zip", holds=("val2014",), image=True, md5="a3d79f5ed8d289b7a7554ce06a5782b3"),
        Archive(name="test2015.zip", holds=("test2015",), image=True, test=True),
    ]
    return (*texts, *images)


ARCHIVES = _archives()


def download(config: DownloadConfig, tell: Tell) -> Outcome:
    """Fetches, checks and unpacks what is missing.

    Interrupted at any point, the next call resumes: a transfer where it stopped, unpacking an archive from
    its beginning. A file or folder appears only when it is complete. DataError when a
    server fails, an MD5 differs, the disk is full, or an archive is damaged or unsafe.
    """
    output = Path(config.output).expanduser() if config.output else cache_folder() / V2.name
    wanted = [
        archive
        for archive in ARCHIVES
        if (config.images or not archive.image) and (config.test or not archive.test)
    ]
    started = time.monotonic()
    done: dict[str, str] = {}
    with only_one(output, tell):
        memory = _Memory(output / MEMORY)
        for archive in wanted:
            if all((output / name).exists() for name in archive.holds):
                done[archive.name] = "already there"
                continue
            done[archive.name] = _bring(archive, output, memory, config, tell)
    return Outcome(
        summary={
            "folder": str(output),
            "archives": done,
            "seconds": round(time.monotonic() - started, 1),
            "next": pasteable("hacore", "data", "prepare", V2.name, output),
        }
    )


class _Memory:
    """What is known about archives that were fetched before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, Any] = dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            self._known = {}

    def md5(self, url: str) -> str:
        md5 = self._known.get(url)
        return md5 if isinstance(md5, str) else ""

    def keep(self, url: str, md5: str) -> None:
        self._known[url] = md5
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        temporary.write_text(json.dumps(self._known, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self._path)


def _bring(wanted: Archive, output: Path, memory: _Memory, config: DownloadConfig, tell: Tell) -> str:
    """Fetches and unpacks one archive; returns a note about it."""
    url = f"{(config.images_url if wanted.image else config.url).rstrip('/')}/{wanted.name}"
    known = wanted.md5 or memory.md5(url)
    archive = output / wanted.name
    md5 = retrieve(url, archive, known, tell, "--images-url" if wanted.image else "--url")
    memory.keep(url, md5)
    tell.message(f"unpacking {archive.name}")
    work = output / f".{archive.stem}.files"
    shutil.rmtree(work, ignore_errors=True)
    unpack(
        archive,
        work,
        lambda done, total: tell.progress(f"unpacking {wanted.name}, MB", done // _MB, total // _MB),
    )
    try:
        _place(wanted, archive, work, output)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not config.keep_archives:
        archive.unlink()
    return f"unpacked; MD5 {md5}{', as expected' if known else ', now remembered'}"


def _place(wanted: Archive, archive: Path, work: Path, output: Path) -> None:
    """Moves what was unpacked into its place."""
    if wanted.image:  # the archive's one folder is the work folder
        os.rename(work, output / wanted.holds[0])
        return
    if missing := [name for name in wanted.holds if not (work / name).is_file()]:
        raise DataError(
            f"{archive}: holds no {', '.join(missing)}; delete it, and give another address with --url"
        )
    for name in wanted.holds:
        os.replace(work / name, output / name)
