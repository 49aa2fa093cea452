"""From the official files to a pack, as hacore-folder makes one of a table."""

from __future__ import annotations

from pathlib import Path

from hacore_folder.findings import Findings
from hacore_folder.pack import Pack
from hacore_folder.prepare import Reading, default_folder, is_of_tables, pack_tables
from hacore_folder.questions import Question
from hacore_packing.prepare import preparing, unpacked_folder

from hacore.data_tools import Outcome, Tell
from hacore_daquar import PrepareConfig
from hacore_daquar.official import SPLITS, Images, official_files, read_official


def prepare(config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs the official files; interrupted at any point, the next call resumes.

    With any problem in the data nothing is finished: the outcome lists all of them. DataError when a file of
    questions is missing, the disk is full, or the output folder holds other files.
    """
    root = unpacked_folder(config.root, "the official files")
    files = official_files(root, config.categories)
    if config.output:
        folder = Path(config.output).expanduser()
    else:
        folder = cached_folder(root, config.size, config.categories)
    with preparing(folder, config.size, config.workers, tell) as work:
        return pack_tables(work, root, files, lambda: _read(root, files))


def cached_folder(root: Path, size: tuple[int, int], categories: int) -> Path:
    """Where the official files are packed unless told otherwise, and where the dataset looks for them."""
    return default_folder(root, size, "daquar", str(categories))


def is_current(pack: Pack, root: Path, categories: int) -> bool:
    """Whether the questions and the images are those that the pack was made from."""
    return is_of_tables(pack, root, lambda: official_files(root, categories))


def _read(root: Path, files: list[Path]) -> Reading:
    findings = {split: Findings(path) for split, path in zip(SPLITS, files, strict=True)}
    images, questions = Images(root), list[Question]()
    for split in SPLITS:
        questions += read_official(findings[split], images, split, first=len(questions) + 1)
    return Reading(
        questions=questions,
        notes=[],
        findings=[*findings.values()],
        place=lambda question: findings[question.split].place(question.line),
    )
