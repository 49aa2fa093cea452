"""From the official files to a pack: every record is checked, every image decoded and resized once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from hacore_packing.packs import digest_of, file_entry, file_stamp
from hacore_packing.prepare import Preparation, choose_splits, preparing, unpacked_folder

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.texts import composed
from hacore_vqa import PrepareConfig
from hacore_vqa.columns import Columns, Texts, read_split
from hacore_vqa.official import CP, V2, Layout, find_splits
from hacore_vqa.pack import FORMAT, Pack
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

    Interrupted at any point, the next call resumes. With any problem in the data nothing is finished:
    the outcome lists all of them, and once they are fixed the next call makes what is missing. Counts
    that differ from the published ones are a warning, not an error. DataError when the folder does not
    hold the data, the disk is full, or the output folder holds other files.
    """
    root = unpacked_folder(config.root, f"the official files of {layout.name}")
    splits = _chosen(root, layout, config.splits)
    images = Path(config.images).expanduser() if config.images else root
    folder = default_folder(layout, root, config.size, images)
    if config.output:
        folder = Path(config.output).expanduser()
    with preparing(folder, config.size, config.workers, tell) as work:
        return _Reading(layout, root, splits, work, subset=config.subset).prepare(images)


def default_folder(layout: Layout, root: Path, size: tuple[int, int], images: Path) -> Path:
    """Where a folder is packed unless told otherwise, and where the dataset looks for it."""
    places = [str(root.resolve()), str(images.resolve())]
    return cache_folder() / layout.name / digest_of([str(FORMAT.version), *places, str(tuple(size))])[:16]


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
    return bool(size == entry["bytes"] and file_entry(path)["sha256"] == entry["sha256"])


class _Reading:
    """One call of ``prepare``: the official files of some splits."""

    def __init__(
        self, layout: Layout, root: Path, splits: tuple[str, ...], work: Preparation, subset: bool
    ) -> None:
        self._layout, self._root, self._splits = layout, root, splits
        self._work, self._subset = work, subset

    def prepare(self, images: Path) -> Outcome:
        work, texts = self._work, Texts()
        columns = {split: self._read(split, texts) for split in self._splits}
        spelled = len(texts.answers) - len({composed(answer) for answer in texts.answers})
        if spelled:
            work.tell.message(
                f"warning: {spelled:,} answers differ from others only in how their accents are encoded; "
                "they are different answers, as in the official metric"
            )
        if work.problems:
            work.tell.message(f"{len(work.problems)} problems so far; looking for more in the images")
        if missing := missing_folders(columns, images):  # every image in them would be named
            return Outcome(summary={"not finished": str(work.folder)}, problems=(*work.problems, *missing))
        parts = find_parts(self._layout, columns, images)
        paths = [path for part in parts.values() for path in part.paths]
        if pack := work.existing(FORMAT, lambda pack: self._is_same(pack, parts), paths):
            return work.already_prepared(_counts(pack))
        packed = work.pack(list(parts.values()))
        if work.problems:
            return work.not_finished()
        pack = publish(
            work.folder,
            layout=self._layout,
            size=work.size,
            images=packed,
            parts=parts,
            columns=columns,
            texts=texts,
            source={**self._source(parts), "images": str(images.resolve())},
        )
        return work.finished(_counts(pack))

    def _is_same(self, pack: Pack, parts: dict[str, Part]) -> bool:
        """Whether the pack was made from the same files."""
        same_splits = (pack.data, list(pack.splits)) == (self._layout.name, list(self._splits))
        return same_splits and is_current(pack, self._root) and pack.source["parts"] == _stamps(parts)

    def _read(self, split: str, texts: Texts) -> Columns:
        official = self._layout.splits[split]
        self._work.tell.message(f"reading the questions of {split}")
        if official.annotations and not (self._root / official.annotations).is_file():
            self._work.problems.append(
                f"{self._root / official.annotations}: is missing, the answers of {split} are in it; unpack "
                "it, or leave the split out with --splits"
            )
            official = attrs.evolve(official, annotations="")
        columns, problems = read_split(self._root, official, texts)
        self._work.problems += problems
        for note in columns.notes:
            self._work.tell.message(f"warning: {note}")
        if not self._subset and not problems and len(columns) != official.published:
            self._work.tell.message(
                f"warning: {self._root / official.questions}: {len(columns):,} questions, of {split} "
                f"{official.published:,} are published; --subset says that this is meant"
            )
        return columns

    def _source(self, parts: dict[str, Part]) -> dict[str, Any]:
        """What the pack is made from; checksums are computed once and kept."""
        files = {}
        for split in self._splits:
            official = self._layout.splits[split]
            for name in filter(None, (official.questions, official.annotations)):
                path = self._root / name
                files[name] = {"stamp": file_stamp(path), **file_entry(path)}
        return {
            "root": str(self._root.resolve()),
            "files": files,
            "parts": _stamps(parts),
        }


def _stamps(parts: dict[str, Part]) -> dict[str, str]:
    """A value for each part, which changes when one of its image files does."""
    return {name: digest_of(part.stamps) for name, part in parts.items()}


def _chosen(root: Path, layout: Layout, wanted: tuple[str, ...]) -> tuple[str, ...]:
    splits = choose_splits(root, find_splits(root, layout), wanted)
    if "train" not in splits:
        raise DataError(
            f"no split train among {', '.join(splits)}; vocabulary, answers and pixel statistics are those "
            "of the training split, add it"
        )
    return splits


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
