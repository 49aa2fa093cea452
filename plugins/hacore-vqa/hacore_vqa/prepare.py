"""From the official files to a pack: every record is checked, every image decoded and resized once."""

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
    measure,
    require_images_room,
    require_place,
    unfinished,
)
from hacore_packing.writer import PackWriter

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore_vqa import PrepareConfig
from hacore_vqa.columns import Columns, Texts, read_split
from hacore_vqa.official import CP, V2, Layout, find_splits
from hacore_vqa.pack import VERSION, Pack, open_pack
from hacore_vqa.parts import Part, find_parts, missing_folders
from hacore_vqa.publish import publish


def prepare_v2(config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs VQA v2; see ``prepare``."""
    return prepare(V2, config, tell)


def prepare_cp(config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs VQA-CP v2; see ``prepare``."""
    return prepare(CP, config, tell)


def prepare(layout: Layout, config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs a folder of official files.

    Interrupted at any point, the next call goes on. With any problem in the data nothing is finished:
    the outcome lists all of them, and once they are mended the next call makes what is missing. Other
    counts than the published ones are told, not refused. DataError when the folder holds no such
    data, there is no room, or the output folder holds other things.
    """
    if not config.root:
        raise DataError(f"root is not set; give the folder of the official files of {layout.name}")
    root = Path(config.root).expanduser()
    if is_pack(root):
        raise DataError(f"{root}: is prepared data already; give it to the dataset as its root")
    splits = _chosen(root, layout, config.splits)
    images = Path(config.images).expanduser() if config.images else root
    folder = default_folder(layout, root, config.size, images)
    if config.output:
        folder = Path(config.output).expanduser()
    require_place(folder)
    with only_one(folder, tell):
        try:
            return _Preparation(layout, root, images, splits, folder, config, tell).run()
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be made ({error}); make room or choose another folder with --output, "
                "and run again to go on"
            ) from error


def default_folder(layout: Layout, root: Path, size: tuple[int, int], images: Path) -> Path:
    """Where a folder is packed unless told otherwise, and where the dataset looks for it."""
    places = [str(root.resolve()), str(images.resolve())]
    return cache_folder() / layout.name / digest_of([str(VERSION), *places, str(tuple(size))])[:16]


def is_current(pack: Pack, root: Path) -> bool:
    """Whether the files with questions and annotations are those that the pack was made from.

    Their content is read only where a file's time is another one, as after copying.
    """
    try:
        return all(_same(root / name, entry) for name, entry in pack.source["files"].items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def _same(path: Path, entry: dict[str, Any]) -> bool:
    size, changed = file_stamp(path)
    if [size, changed] == entry["stamp"]:
        return True
    return bool(size == entry["bytes"] and measure(path)["sha256"] == entry["sha256"])


class _Preparation:
    """One call of ``prepare``, which holds the folder's lock."""

    def __init__(
        self,
        layout: Layout,
        root: Path,
        images: Path,
        splits: tuple[str, ...],
        folder: Path,
        config: PrepareConfig,
        tell: Tell,
    ) -> None:
        self._layout, self._root, self._images, self._splits = layout, root, images, splits
        self._folder, self._config, self._tell = folder, config, tell
        self._problems: list[str] = []

    def run(self) -> Outcome:
        started = time.monotonic()
        texts = Texts()
        columns = {split: self._read(split, texts) for split in self._splits}
        if self._problems:
            self._tell.message(f"{len(self._problems)} problems so far; looking for more in the images")
        if missing := missing_folders(columns, self._images):  # every image in them would be named
            return Outcome(summary={"not finished": str(self._folder)}, problems=(*self._problems, *missing))
        parts = find_parts(self._layout, columns, self._images)
        if pack := self._finished(parts):
            return Outcome(summary={"already prepared": str(self._folder), **_counts(pack)})
        total = sum(len(part.paths) for part in parts.values())
        require_images_room(unfinished(self._folder), total, self._config.size)
        writers = {name: self._writer(part) for name, part in parts.items()}
        decoded = 0
        for name, writer in writers.items():
            what = f"packing images of {name}"
            packed, damage = pack_images(writer, parts[name].paths, self._config.workers, self._tell, what)
            decoded += packed
            self._problems += damage
        if self._problems:
            return not_finished(self._folder, writers, self._problems)
        pack = publish(
            self._folder,
            layout=self._layout,
            size=self._config.size,
            images={name: finish_images(writer, self._tell, name) for name, writer in writers.items()},
            parts=parts,
            columns=columns,
            texts=texts,
            source=self._source(parts),
        )
        work = {"images decoded": decoded, "seconds": round(time.monotonic() - started, 1)}
        return Outcome(summary={"prepared": str(self._folder), **_counts(pack), **work})

    def _finished(self, parts: dict[str, Part]) -> Pack | None:
        """The pack, if it is there, whole and made from the same files."""
        if not is_pack(self._folder):
            return None
        try:
            pack = open_pack(self._folder)
        except DataError as error:
            self._tell.message(f"made again: {error}")
            return None
        wanted = (self._layout.name, tuple(self._config.size), list(self._splits))
        if (pack.data, pack.size, list(pack.splits)) != wanted or not is_current(pack, self._root):
            return None
        return pack if pack.source["parts"] == _stamps(parts) else None

    def _read(self, split: str, texts: Texts) -> Columns:
        official = self._layout.splits[split]
        self._tell.message(f"reading the questions of {split}")
        if official.annotations and not (self._root / official.annotations).is_file():
            self._problems.append(
                f"{self._root / official.annotations}: is missing, the answers of {split} are in it; unpack "
                "it, or leave the split out with --splits"
            )
            official = attrs.evolve(official, annotations="")
        columns, problems = read_split(self._root, official, texts)
        self._problems += problems
        if not self._config.subset and not problems and len(columns) != official.published:
            self._tell.message(
                f"warning: {self._root / official.questions}: {len(columns):,} questions, of {split} "
                f"{official.published:,} are published; --subset says that this is meant"
            )
        return columns

    def _writer(self, part: Part) -> PackWriter:
        def stamp(start: int, stop: int) -> str:
            return digest_of(part.stamps[start:stop])[:16]

        work, size = unfinished(self._folder), self._config.size
        return PackWriter(work, part.name, len(part.paths), size, stamp, part.measured)

    def _source(self, parts: dict[str, Part]) -> dict[str, Any]:
        """What the pack is made from; checksums are computed once and kept."""
        files = {}
        for split in self._splits:
            official = self._layout.splits[split]
            for name in filter(None, (official.questions, official.annotations)):
                path = self._root / name
                files[name] = {"stamp": file_stamp(path), **measure(path)}
        return {
            "root": str(self._root.resolve()),
            "files": files,
            "parts": _stamps(parts),
        }


def _stamps(parts: dict[str, Part]) -> dict[str, str]:
    """Of each part, another one when one of its images is another file."""
    return {name: digest_of(part.stamps) for name, part in parts.items()}


def _chosen(root: Path, layout: Layout, wanted: tuple[str, ...]) -> tuple[str, ...]:
    found = find_splits(root, layout)
    if unknown := [split for split in wanted if split not in found]:
        raise DataError(f"{root}: has no split {', '.join(unknown)}; it has {', '.join(found)}")
    if wanted and "train" not in wanted:
        raise DataError(
            f"no split train among {', '.join(wanted)}; vocabulary, answers and pixel statistics are those "
            "of the training split, add it"
        )
    return tuple(split for split in found if split in wanted) if wanted else found


def _counts(pack: Pack) -> dict[str, Any]:
    texts = pack.texts()
    return {
        "size": f"{pack.size[0]}x{pack.size[1]}",
        "images": dict(pack.parts),
        "questions": {split: info.questions for split, info in pack.splits.items()},
        "words": len(texts.words),
        "different answers": len(texts.answers),
        "question types": len(texts.question_types),
        "answer types": len(texts.answer_types),
    }
