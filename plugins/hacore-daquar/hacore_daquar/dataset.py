"""The dataset DAQUAR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hacore_folder import Config as FolderConfig
from hacore_folder.dataset import Folder
from hacore_folder.pack import FORMAT, Pack
from hacore_folder.prepare import picture_files
from hacore_packing.images import LogTell
from hacore_packing.prepare import Source, open_prepared, open_root, prepare_command
from hacore_packing.readers import source_folder

from hacore.errors import DataError
from hacore_daquar import Config, PrepareConfig
from hacore_daquar.official import SPLITS, WANTED, file_name, official_files
from hacore_daquar.prepare import cached_folder, is_current, prepare


class Daquar(Folder):
    """DAQUAR (Malinowski and Fritz 2014, arXiv 1410.0210) from its official files.

    Questions that people asked about the photographs of rooms in NYU Depth v2. ``root`` is the folder of the
    official files, which is prepared on first use and again when a file changes, or a prepared one. test is
    the official split; val has all questions about a share of the official training images, drawn by a digest
    of seed and name. An answer of several words is one class, whatever their order; those of test that do
    not occur in training count as wrong. question_types: see ``hacore_daquar.official.question_type``.

    DataError when the data are missing, broken, or prepared at another ``size``.
    """

    def __init__(self, config: Config) -> None:
        self.read(
            FolderConfig(
                root=config.root,
                size=config.size,
                shares=(1 - config.validation, config.validation, 0.0),
                split_seed=config.validation_seed,
                answers=config.answers,
            ),
            _open(config),
        )

    def submission(self, split: str, answers: Sequence[str]) -> str | None:
        """An answer a line, in the order of the official file; None for splits that are no such file."""
        if split != "test":
            return None
        return "".join(f"{answers[row]}\n" for row in np.argsort(self.questions(split).ids, kind="stable"))


def _open(config: Config) -> Pack:
    categories = ("--categories", str(config.categories))

    def source(pack: Pack) -> Source:
        root = source_folder(pack, "root")
        if not root:
            return None
        places = ("--output", Path(config.root).expanduser(), *categories)
        return picture_files(root, pack), prepare_command("daquar", root, pack.size, *places)

    def official(root: Path) -> Pack:
        official_files(root, config.categories)  # says what is missing before anything is said to be prepared
        settings = PrepareConfig(root=str(root), size=config.size, categories=config.categories)
        return open_prepared(
            root,
            cached_folder(root, config.size, config.categories),
            FORMAT,
            is_current=lambda pack, root: is_current(pack, root, config.categories),
            prepare=lambda: prepare(settings, LogTell()),
            command=prepare_command("daquar", root, config.size, *categories),
            paths=lambda pack: picture_files(root, pack),
        )

    pack = open_root(config.root, config.size, FORMAT, wanted=WANTED, source=source, official=official)
    if Path(pack.table).name != file_name(config.categories, SPLITS[0]):
        raise DataError(
            f"{config.root}: was prepared from {pack.table}, and data.categories is {config.categories}; "
            "set data.categories, or prepare the other files"
        )
    return pack
