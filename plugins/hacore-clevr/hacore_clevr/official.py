"""CLEVR's own files: which splits a folder has, its images and its questions.

The layout of CLEVR v1.0 and CLEVR-CoGenT: ``images/{split}/``, ``questions/CLEVR_{split}_questions.json``,
``scenes/CLEVR_{split}_scenes.json``. Splits are those that have a questions file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hacore_packing.prepare import no_folder
from hacore_packing.stream import JsonError, read_list

from hacore.errors import DataError
from hacore_clevr.columns import Collector, Columns
from hacore_clevr.objects import Scenes

ORDER = ("train", "trainA", "val", "valA", "test", "testA", "valB", "testB")
"""Of splits; others follow in alphabetical order."""

TRAIN = ("train", "trainA")
"""Names that the training split may have."""

SUFFIXES = (".png", ".jpg", ".jpeg")


def questions_file(root: Path, split: str) -> Path:
    return root / "questions" / f"CLEVR_{split}_questions.json"


def scenes_file(root: Path, split: str) -> Path:
    return root / "scenes" / f"CLEVR_{split}_scenes.json"


def images_folder(root: Path, split: str) -> Path:
    return root / "images" / split


def find_splits(root: Path) -> tuple[str, ...]:
    """Names of the splits with a questions file, in the order of ``ORDER``.

    DataError when the folder has none; it names the subfolder that has, as an archive may hold one.
    """
    paths = root.glob("questions/CLEVR_*_questions.json")
    names = [path.name.removeprefix("CLEVR_").removesuffix("_questions.json") for path in paths]
    if names:
        return tuple(sorted(names, key=lambda name: (*(name != other for other in ORDER), name)))
    inner = sorted(path.parent for path in root.glob("*/questions") if path.is_dir())
    hint = f"did you mean {inner[0]}?" if inner else "give the folder that holds questions and images"
    problem = "has no questions/CLEVR_*_questions.json" if root.is_dir() else no_folder(root)
    raise DataError(
        f"{root}: {problem}; {hint}, or get the data by 'hacore data download clevr' or 'generate'"
    )


def image_names(root: Path, split: str) -> list[str]:
    """File names of a split's images in order; none if it has no folder."""
    try:
        names = os.listdir(images_folder(root, split))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))


def picture_files(root: Path, splits: Iterable[str]) -> Iterator[Path]:
    """The image files of some splits."""
    for split in splits:
        yield from (images_folder(root, split) / name for name in image_names(root, split))


def read_scenes(root: Path, split: str) -> Scenes | None:
    """The scenes of a split, None where there is no file of them.

    Invalid scenes, and what follows damage to the file, are left out: only an oracle needs scenes.
    ``hacore data verify clevr`` reports what is wrong.
    """
    path = scenes_file(root, split)
    if not path.is_file():
        return None

    def records() -> Iterator[Any]:
        with contextlib.suppress(JsonError):
            yield from read_list(path, "scenes")

    return Scenes.read(records())


def read_questions(
    root: Path, split: str, images: Sequence[str] | None, scenes: Scenes | None = None
) -> tuple[Columns, list[str]]:
    """The questions of a split and every problem with them, one line each.

    images: names of the split's images, in the order of their rows; None if they are not known, then rows
    are -1. scenes: of the images, which tell the objects that questions are about. Questions with a problem
    are left out of the columns. A problem names a question by its place in the file, from 0. DataError when
    the file cannot be opened.
    """
    path = questions_file(root, split)
    collector = Collector(images, scenes)
    damage = []
    try:
        for record in read_list(path, "questions"):
            collector.add(record)
        if not collector.seen:
            damage = ["the list 'questions' is empty; download or unpack it again"]
    except JsonError as error:
        damage = [f"{error}; {collector.seen} questions could be read; download or unpack it again"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); unpack it again") from error
    columns, problems = collector.finish()
    return columns, [f"{path}: {problem}" for problem in damage + problems]
