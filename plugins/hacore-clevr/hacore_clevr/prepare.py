"""From an official folder to a pack: every question is checked, every image decoded and resized once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
from hacore_packing.folders import only_one
from hacore_packing.images import finish_images, not_finished, pack_images
from hacore_packing.packs import (
    digest_of,
    file_stamp,
    is_pack,
    require_images_room,
    require_place,
    unfinished,
)
from hacore_packing.writer import PackWriter

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore_clevr import PrepareConfig
from hacore_clevr.columns import Columns
from hacore_clevr.objects import Scenes
from hacore_clevr.official import (
    find_splits,
    image_names,
    images_folder,
    questions_file,
    read_questions,
    read_scenes,
    scenes_file,
)
from hacore_clevr.pack import VERSION, Pack, open_pack
from hacore_clevr.publish import publish, train_split


@attrs.frozen(kw_only=True)
class _Split:
    """A split of the official folder. stamps: of each image file, another one when the file changes."""

    name: str
    images: list[str]
    stamps: list[str]


def prepare(config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs an official folder.

    Interrupted at any point, the next call goes on. With any problem in the data nothing is finished:
    the outcome lists all of them, and once they are mended the next call makes what is missing.
    DataError when the folder is not CLEVR's, there is no room, or the output folder holds other things.
    """
    if not config.root:
        raise DataError("root is not set; give the folder of the official data, with images and questions")
    root = Path(config.root).expanduser()
    if is_pack(root):
        raise DataError(f"{root}: is prepared data already; give it to the dataset as its root")
    splits = _chosen(root, config.splits)
    folder = Path(config.output).expanduser() if config.output else default_folder(root, config.size)
    require_place(folder)
    with only_one(folder, tell):
        try:
            return _Preparation(root, splits, folder, config, tell).run()
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be made ({error}); make room or choose another folder with --output, "
                "and run again to go on"
            ) from error


def default_folder(root: Path, size: tuple[int, int]) -> Path:
    """Where an official folder is packed unless told otherwise, and where the dataset looks for it."""
    key = digest_of([str(VERSION), str(root.resolve()), str(tuple(size))])[:16]
    return cache_folder() / "clevr" / key


def is_current(pack: Pack, root: Path) -> bool:
    """Whether the pack was made from the questions files that the official folder has now."""
    try:
        return all(
            pack.source["splits"][split]["questions"] == file_stamp(questions_file(root, split))
            for split in pack.splits
        )
    except (OSError, KeyError, TypeError):
        return False


class _Preparation:
    """One call of ``prepare``, which holds the folder's lock."""

    def __init__(
        self, root: Path, splits: tuple[str, ...], folder: Path, config: PrepareConfig, tell: Tell
    ) -> None:
        self._root, self._folder, self._config, self._tell = root, folder, config, tell
        self._splits = [_look(root, split) for split in splits]
        self._problems: list[str] = []

    def run(self) -> Outcome:
        started = time.monotonic()
        source = _source(self._root, self._splits)
        if pack := self._finished(source):
            return Outcome(summary={"already prepared": str(self._folder), **_counts(pack)})
        scenes = {split.name: self._read_scenes(split) for split in self._splits}
        questions = {split.name: self._read(split, scenes[split.name]) for split in self._splits}
        images = sum(len(split.images) for split in self._splits)
        require_images_room(unfinished(self._folder), images, self._config.size)
        writers = {split.name: self._writer(split) for split in self._splits if split.images}
        decoded = 0
        for split in self._splits:
            decoded += self._decode(split, writers[split.name]) if split.images else 0
        if self._problems:
            return not_finished(self._folder, writers, self._problems)
        pack = publish(
            self._folder,
            size=self._config.size,
            images={name: finish_images(writer, self._tell, name) for name, writer in writers.items()},
            questions=questions,
            names={split.name: split.images for split in self._splits},
            scenes=scenes,
            source=source,
        )
        seconds = round(time.monotonic() - started, 1)
        work = {"images decoded": decoded, "seconds": seconds}
        return Outcome(summary={"prepared": str(self._folder), **_counts(pack), **work})

    def _finished(self, source: Any) -> Pack | None:
        """The pack, if it is there, whole and made from the same files."""
        if not is_pack(self._folder):
            return None
        try:
            pack = open_pack(self._folder)
        except DataError as error:
            self._tell.message(f"made again: {error}")
            return None
        same = pack.source == source and pack.size == tuple(self._config.size)
        return pack if same and list(pack.splits) == [split.name for split in self._splits] else None

    def _read_scenes(self, split: _Split) -> Scenes | None:
        if scenes_file(self._root, split.name).is_file():
            self._tell.message(f"reading the scenes of {split.name}")
        return read_scenes(self._root, split.name)

    def _read(self, split: _Split, scenes: Scenes | None) -> Columns:
        self._tell.message(f"reading the questions of {split.name}")
        columns, problems = read_questions(self._root, split.name, split.images or None, scenes)
        if not split.images:
            where = images_folder(self._root, split.name)
            problems.append(f"{where}: holds no images; unpack them, or leave the split out with --splits")
        self._problems += problems
        return columns

    def _writer(self, split: _Split) -> PackWriter:
        def stamp(start: int, stop: int) -> str:
            return digest_of(split.stamps[start:stop])[:16]

        work = unfinished(self._folder)
        return PackWriter(work, split.name, len(split.images), self._config.size, stamp)

    def _decode(self, split: _Split, writer: PackWriter) -> int:
        """Packs the images that are not packed yet; returns how many."""
        folder = images_folder(self._root, split.name)
        paths = [str(folder / name) for name in split.images]
        what = f"packing images of {split.name}"
        packed, damage = pack_images(writer, paths, self._config.workers, self._tell, what)
        self._problems += damage
        return packed


def _chosen(root: Path, wanted: tuple[str, ...]) -> tuple[str, ...]:
    found = find_splits(root)
    if unknown := [split for split in wanted if split not in found]:
        raise DataError(f"{root}: has no split {', '.join(unknown)}; it has {', '.join(found)}")
    chosen = tuple(split for split in found if split in wanted) if wanted else found
    train_split(dict.fromkeys(chosen))
    return chosen


def _look(root: Path, split: str) -> _Split:
    names = image_names(root, split)
    folder = images_folder(root, split)
    stamps = []
    for name in names:
        size, changed = file_stamp(folder / name)
        stamps.append(f"{name} {size} {changed}")
    return _Split(name=split, images=names, stamps=stamps)


def _source(root: Path, splits: list[_Split]) -> dict[str, Any]:
    return {
        "root": str(root.resolve()),
        "splits": {
            split.name: {
                "questions": file_stamp(questions_file(root, split.name)),
                "images": digest_of(split.stamps),
            }
            for split in splits
        },
    }


def _counts(pack: Pack) -> dict[str, Any]:
    return {
        "size": f"{pack.size[0]}x{pack.size[1]}",
        "images": {split: info.images for split, info in pack.splits.items()},
        "questions": {split: info.questions for split, info in pack.splits.items()},
        "words": len(pack.vocabulary),
        "question types": len(pack.types),
    }
