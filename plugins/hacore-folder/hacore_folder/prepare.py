"""From a folder to a pack: every row is checked, every picture decoded and resized once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
from hacore_packing.packs import digest_of, file_entry, file_stamp
from hacore_packing.prepare import ImageFiles, Preparation, preparing, unpacked_folder

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore_folder import PrepareConfig
from hacore_folder.findings import Findings
from hacore_folder.pack import FORMAT, PICTURES, Pack
from hacore_folder.pictures import Pictures
from hacore_folder.publish import publish
from hacore_folder.questions import SPLITS, Question, find_table, read_questions


@attrs.frozen(kw_only=True, eq=False)
class PictureFiles(ImageFiles):
    """The pictures that the questions ask about. names: their paths within the folder. places: of each, the
    first row that asks about it."""

    names: list[str]
    places: list[str]

    def problem(self, row: int, text: str) -> str:
        return f"{self.places[row]}: {text}"


def prepare(config: PrepareConfig, tell: Tell) -> Outcome:
    """Packs a folder with pictures and a table of questions.

    Interrupted at any point, the next call resumes. With any problem in the data nothing is finished: the
    outcome lists all of them, and once they are fixed the next call makes what is missing. DataError when
    the folder has no table, the disk is full, or the output folder holds other files.
    """
    root = unpacked_folder(config.root, "your pictures and questions")
    find_table(root)
    folder = Path(config.output).expanduser() if config.output else default_folder(root, config.size)
    with preparing(folder, config.size, config.workers, tell) as work:
        table = find_table(root)
        return pack_tables(work, root, [table], lambda: _read(table, root))


def default_folder(root: Path, size: tuple[int, int], data: str = "folder", *more: str) -> Path:
    """Where a folder is packed unless told otherwise, and where the dataset looks for it.

    data: the data set. more: what else tells its packs of a folder apart.
    """
    key = digest_of([str(FORMAT.version), str(root.resolve()), str(tuple(size)), *more])[:16]
    return cache_folder() / data / key


def is_current(pack: Pack, root: Path) -> bool:
    """Whether the table and the pictures are those that the pack was made from."""
    return is_of_tables(pack, root, lambda: [find_table(root)])


def is_of_tables(pack: Pack, root: Path, tables: Callable[[], Sequence[Path]]) -> bool:
    """Whether the pack was made from these tables, and from the pictures as they are.

    The content of a table is read only where its time is another one, as after copying.
    """
    source = pack.source
    try:
        entries = [source["table"], *source.get("more_tables", ())]
        return source["pictures"] == _stamp(root, pack.pictures) and all(
            entry["name"] == table.name
            and (entry["stamp"] == file_stamp(table) or entry["sha256"] == file_entry(table)["sha256"])
            for entry, table in zip(entries, tables(), strict=True)
        )
    except (OSError, KeyError, TypeError, ValueError, DataError):
        return False


def picture_files(root: Path, pack: Pack) -> Iterable[Path]:
    """The files that a pack was made from."""
    return (root / name for name in pack.pictures)


@attrs.frozen(kw_only=True, eq=False)
class Reading:
    """The questions of some tables. notes: what is unusual but not wrong. findings: of each table.

    place: where a question stands, as a finding names it.
    """

    questions: list[Question]
    notes: list[str]
    findings: Sequence[Findings]
    place: Callable[[Question], str]


def pack_tables(
    work: Preparation, root: Path, tables: Sequence[Path], read: Callable[[], Reading]
) -> Outcome:
    """Packs the pictures below ``root`` and the questions about them that ``read`` reads from the tables."""
    work.tell.message(f"reading {' and '.join(map(str, tables))}")
    # Before they are read: a table that changes meanwhile is another one.
    stamps = [{"name": table.name, "stamp": file_stamp(table), **file_entry(table)} for table in tables]
    reading = read()
    for note in reading.notes:
        work.tell.message(f"warning: {note}")
    work.problems += [line for findings in reading.findings for line in findings.lines()]
    if work.problems:
        work.tell.message(f"{len(work.problems)} problems so far; looking for more in the pictures")
    files = _files(root, reading)
    source = {
        "root": str(root.resolve()),
        "table": stamps[0],
        **({"more_tables": stamps[1:]} if stamps[1:] else {}),
        "pictures": _stamp(root, files.names),
    }
    if not work.problems and (pack := work.existing(FORMAT, lambda pack: pack.source == source, files.paths)):
        return work.already_prepared(_counts(pack))
    packed = work.pack([files] if files.paths else [])
    if work.problems:
        return work.not_finished()
    pack = publish(
        work.folder, work.size, packed[PICTURES], files.names, reading.questions, tables[0], source
    )
    return work.finished(_counts(pack))


def _read(table: Path, root: Path) -> Reading:
    findings = Findings(table)
    questions, notes = read_questions(findings, Pictures(root))
    return Reading(
        questions=questions,
        notes=[*notes, *_divided(findings, questions)],
        findings=[findings],
        place=lambda question: findings.place(question.line, question.item),
    )


def _files(root: Path, reading: Reading) -> PictureFiles:
    """Pictures of one split lie together, so that the split can be read without the others."""
    places: dict[str, str] = {}
    splits: dict[str, int] = {}
    for question in reading.questions:
        places.setdefault(question.image, reading.place(question))
        if question.split:
            splits.setdefault(question.image, SPLITS.index(question.split))
    names = sorted(places, key=lambda name: (splits.get(name, 0), name))
    return PictureFiles(
        name=PICTURES,
        paths=[str(root / name) for name in names],
        stamps=[_file_stamp(root, name) for name in names],
        way_out="replace it, or remove the rows about it",
        names=names,
        places=[places[name] for name in names],
    )


def _divided(findings: Findings, questions: Sequence[Question]) -> list[str]:
    """Says so where a picture of one split is asked about in another."""
    splits: dict[str, set[str]] = {}
    for question in questions:
        splits.setdefault(question.image, set()).add(question.split)
    count = sum(len(each) > 1 for each in splits.values())
    if not count:
        return []
    noun = "picture is" if count == 1 else "pictures are"
    return [f"{findings.path}: {count:,} {noun} in more than one split; a test needs its own pictures"]


def _file_stamp(root: Path, name: str) -> str:
    try:
        return f"{name} {' '.join(map(str, file_stamp(root / name)))}"
    except OSError:  # gone since the table was read; told when it is decoded
        return name


def _stamp(root: Path, names: Iterable[str]) -> str:
    """A text that changes when one of the files does."""
    return digest_of([_file_stamp(root, name) for name in names])


def _counts(pack: Pack) -> dict[str, Any]:
    return {
        "size": f"{pack.size[0]}x{pack.size[1]}",
        "pictures": len(pack.pictures),
        "questions": pack.questions,
        "words": len(pack.words),
        "different answers": len(pack.answers),
        "question types": len(pack.types),
    }
