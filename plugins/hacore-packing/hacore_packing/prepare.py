"""From official files to a pack: what the preparation of every data set does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.commands import pasteable
from hacore.pictures import READER
from hacore_packing.folders import only_one
from hacore_packing.images import finish_images, pack_images, raise_problems
from hacore_packing.making import require_images_room, require_place, unfinished
from hacore_packing.packs import Format, PackT, digest_of, is_pack, require_size
from hacore_packing.readers import otherwise_read, require_reader
from hacore_packing.writer import PackedImages, PackWriter

log = logging.getLogger("hacore")

Source: TypeAlias = tuple[Iterable[Path], Sequence[str | Path]] | None
"""The picture files of a pack and the command that prepares it again; None where the files are gone."""


@attrs.frozen(kw_only=True, eq=False)
class ImageFiles:
    """Image files that become one array, a row each.

    stamps: of each file, another one when the file changes. measured: rows in front that pixel statistics
    are over, None for all. way_out: what to do about a damaged file.
    """

    name: str
    paths: list[str]
    stamps: list[str]
    measured: int | None = None
    way_out: str = "unpack it again"

    def problem(self, row: int, text: str) -> str:
        """What is wrong with the file of a row, as it is told; ``text`` names the file."""
        return text


def unpacked_folder(root: str, files: str) -> Path:
    """The folder that the option root gives; files: what is in it. DataError if it is not set or a pack."""
    if not root:
        raise DataError(f"root is not set; give the folder of {files}")
    folder = Path(root).expanduser()
    if is_pack(folder):
        raise DataError(f"{folder}: is prepared data already; give it to the dataset as its root")
    return folder


def no_folder(root: Path) -> str:
    """What is wrong with a path that is no folder; a relative one may be right from another folder."""
    return "is not a folder" if root.is_absolute() else f"is not a folder, seen from {Path.cwd()}"


def choose_splits(root: Path, present: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the splits that are wanted, all if none is named. DataError for one that is not present."""
    if unknown := [split for split in wanted if split not in present]:
        raise DataError(f"{root}: has no split {', '.join(unknown)}; it has {', '.join(present)}")
    return tuple(split for split in present if split in wanted or not wanted)


@contextmanager
def preparing(folder: Path, size: tuple[int, int], workers: int, tell: Tell) -> Iterator[Preparation]:
    """Holds the lock of the pack ``folder`` that is to be made.

    size: (height, width). workers: processes that decode, 0 for one a core. DataError when the folder
    holds other things or cannot be made.
    """
    require_place(folder)
    with only_one(folder, tell):
        yield Preparation(folder, size, workers, tell)


class Preparation:
    """One call of a data set's ``prepare``.

    problems: everything that is wrong with the data, a line each; with any, nothing is finished.
    """

    def __init__(self, folder: Path, size: tuple[int, int], workers: int, tell: Tell) -> None:
        self.folder, self.size, self.tell = folder, (size[0], size[1]), tell
        self.problems: list[str] = []
        self._workers = workers
        self._writers: dict[str, PackWriter] = {}
        self._decoded = 0
        self._started = time.monotonic()

    def existing(
        self, form: Format[PackT], is_same: Callable[[PackT], bool], paths: Iterable[str]
    ) -> PackT | None:
        """The pack, if it is there, whole, of the same image size and made from the same files, ``paths``.

        None, too, if an earlier version read one of them differently.
        """
        if not is_pack(self.folder):
            return None
        try:
            pack = form.open(self.folder)
        except DataError as error:
            self.tell.message(f"made again: {error}")
            return None
        if pack.size != self.size or not is_same(pack):
            return None
        if path := otherwise_read(pack, paths):
            self.tell.message(f"made again: {path} is read differently than by an earlier version of hacore")
            return None
        return pack

    def pack(self, files: Sequence[ImageFiles]) -> dict[str, PackedImages]:
        """The arrays by name, after packing what is not packed yet; nothing when there are problems.

        DataError when there is no room.
        """
        require_images_room(self.folder, sum(len(one.paths) for one in files), self.size)
        self._writers = {one.name: self._writer(one) for one in files}
        for one in files:
            what = f"packing images of {one.name}"
            packed, damage = pack_images(
                self._writers[one.name], one.paths, self._workers, self.tell, what, one.way_out
            )
            self._decoded += packed
            self.problems += [one.problem(row, text) for row, text in damage]
        if self.problems:
            return {}
        return {name: finish_images(writer, self.tell, name) for name, writer in self._writers.items()}

    def already_prepared(self, counts: Mapping[str, Any]) -> Outcome:
        """What the tool returns for an existing pack."""
        return Outcome(summary={"already prepared": str(self.folder), **counts})

    def not_finished(self) -> Outcome:
        """What the tool returns when it packed what it could, but there are problems."""
        packed = {name: f"{writer.done:,} of {writer.shape[0]:,}" for name, writer in self._writers.items()}
        summary = {"not finished": str(self.folder), "images packed": packed}
        return Outcome(summary=summary, problems=tuple(self.problems))

    def finished(self, counts: Mapping[str, Any]) -> Outcome:
        """What the tool returns for the pack that it made."""
        work = {"images decoded": self._decoded, "seconds": round(time.monotonic() - self._started, 1)}
        return Outcome(summary={"prepared": str(self.folder), **counts, **work})

    def _writer(self, files: ImageFiles) -> PackWriter:
        def stamp(start: int, stop: int) -> str:
            return digest_of([str(READER), *files.stamps[start:stop]])[:16]

        work, count = unfinished(self.folder), len(files.paths)
        return PackWriter(work, files.name, count, self.size, stamp, files.measured)


def prepare_command(
    data: str, root: Path, size: tuple[int, int], *places: str | Path, splits: Iterable[str] = ()
) -> list[str | Path]:
    """The words of the command that prepares the files of a data set in ``root``; places: more of them."""
    named = [word for split in splits for word in ("--splits", split)]
    return ["hacore", "data", "prepare", data, root, *places, "--size", *map(str, size), *named]


def open_root(
    root: str,
    size: tuple[int, int],
    form: Format[PackT],
    *,
    wanted: str,
    source: Callable[[PackT], Source],
    official: Callable[[Path], PackT],
) -> PackT:
    """The pack that the option root gives, or that is kept of the folder that it gives.

    wanted: what to give, for those who gave nothing. source: what a pack was made from. official: opens the
    pack of a folder of files, see ``open_prepared``. DataError, also for a pack of another ``size``.
    """
    if not root:
        raise DataError(f"data.root is not set; give it {wanted}")
    folder = Path(root).expanduser()
    if not is_pack(folder):
        pack = official(folder)
    else:
        pack = form.open(folder)
        if made_from := source(pack):
            require_reader(pack, *made_from)
    require_size(folder, pack, size)
    return pack


def open_prepared(
    root: Path,
    folder: Path,
    form: Format[PackT],
    *,
    is_current: Callable[[PackT, Path], bool],
    prepare: Callable[[], Outcome],
    command: Sequence[str | Path],
    paths: Callable[[PackT], Iterable[Path]],
) -> PackT:
    """The pack ``folder`` of the official files in ``root``, prepared first unless it is there and current.

    command: the words of the one that prepares the folder. paths: of the picture files of a pack.
    DataError that lists problems of the data and names the command that lists all, and for a pack with
    pictures that an earlier version read differently.
    """
    if is_pack(folder):
        pack = form.open(folder)
        if is_current(pack, root):
            require_reader(pack, paths(pack), command)
            return pack
        log.info("the files of %s have changed since they were prepared", root)
    log.info("preparing %s in %s, once", root, folder)
    raise_problems(root, prepare().problems, pasteable(*command))
    return form.open(folder)
