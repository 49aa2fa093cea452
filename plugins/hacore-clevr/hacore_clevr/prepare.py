"""From an official folder to a pack: every question is checked, every image decoded and resized once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from hacore_packing.packs import digest_of, file_stamp
from hacore_packing.prepare import ImageFiles, Preparation, choose_splits, preparing, unpacked_folder

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
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
from hacore_clevr.pack import FORMAT, Pack
from hacore_clevr.publish import publish, train_split


@attrs.frozen(kw_only=True, eq=False)
class _Split(ImageFiles):
    """A split of the official folder. images: names of its files."""

    images: list[str]


def prepare(config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs an official folder.

    Interrupted at any point, the next call resumes. With any problem in the data nothing is finished:
    the outcome lists all of them, and once they are fixed the next call makes what is missing.
    DataError when the folder is not CLEVR's, the disk is full, or the output folder holds other files.
    """
    root = unpacked_folder(config.root, "the official data, with images and questions")
    names = choose_splits(root, find_splits(root), config.splits)
    train_split(dict.fromkeys(names))  # there must be one
    splits = [_look(root, name) for name in names]
    folder = Path(config.output).expanduser() if config.output else default_folder(root, config.size)
    with preparing(folder, config.size, config.workers, tell) as work:
        return _prepare(work, root, splits)


def default_folder(root: Path, size: tuple[int, int]) -> Path:
    """Where an official folder is packed unless told otherwise, and where the dataset looks for it."""
    key = digest_of([str(FORMAT.version), str(root.resolve()), str(tuple(size))])[:16]
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


def _prepare(work: Preparation, root: Path, splits: list[_Split]) -> Outcome:
    source = _source(root, splits)
    names = [split.name for split in splits]
    paths = [path for split in splits for path in split.paths]
    existing = work.existing(FORMAT, lambda pack: pack.source == source and list(pack.splits) == names, paths)
    if existing:
        return work.already_prepared(_counts(existing))
    scenes = {split.name: _read_scenes(work, root, split) for split in splits}
    questions = {split.name: _read(work, root, split, scenes[split.name]) for split in splits}
    images = work.pack([split for split in splits if split.images])
    if work.problems:
        return work.not_finished()
    pack = publish(
        work.folder,
        size=work.size,
        images=images,
        questions=questions,
        names={split.name: split.images for split in splits},
        scenes=scenes,
        source=source,
    )
    return work.finished(_counts(pack))


def _read_scenes(work: Preparation, root: Path, split: _Split) -> Scenes | None:
    if scenes_file(root, split.name).is_file():
        work.tell.message(f"reading the scenes of {split.name}")
    return read_scenes(root, split.name)


def _read(work: Preparation, root: Path, split: _Split, scenes: Scenes | None) -> Columns:
    work.tell.message(f"reading the questions of {split.name}")
    columns, problems = read_questions(root, split.name, split.images or None, scenes)
    if not split.images:
        folder = images_folder(root, split.name)
        problems.append(f"{folder}: holds no images; unpack them, or leave the split out with --splits")
    work.problems += problems
    return columns


def _look(root: Path, split: str) -> _Split:
    names = image_names(root, split)
    folder = images_folder(root, split)
    stamps = []
    for name in names:
        try:
            size, changed = file_stamp(folder / name)
        except OSError:  # told when the image is read, with all others
            size, changed = 0, 0
        stamps.append(f"{name} {size} {changed}")
    return _Split(name=split, images=names, paths=[str(folder / name) for name in names], stamps=stamps)


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
