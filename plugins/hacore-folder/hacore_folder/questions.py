"""The questions of a table: every record checked, and each that is wrong named with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from hacore_packing.ids import ALLOWED, whole_number

from hacore.data import Dataset
from hacore.errors import DataError, did_you_mean
from hacore.machine.texts import composed
from hacore_folder.findings import Findings
from hacore_folder.table import SUFFIXES, Record, Table, read_table

SPLITS = ("train", "val", "test")
ASKED = ("image", "question")
ANSWERED = (*ASKED, "answer")
OPTIONAL = ("split", "type", "id")
TABLE = "questions"
"""Name of the table in a folder, without its suffix."""


@attrs.frozen(kw_only=True)
class Question:
    """A record of a table.

    line: in which it begins. item: its place in a JSON list, else 0. image: path of the picture within the
    folder. words: of the question, at least one. answers: the right ones, at least one unless no answers were
    asked for. split: "" where the table has no splits. type: "" for none. id: the table's own, else item or
    line.
    """

    line: int
    item: int
    image: str
    question: str
    words: tuple[str, ...]
    answers: tuple[str, ...]
    split: str
    type: str
    id: int


def find_table(root: Path) -> Path:
    """The table of a folder. DataError where there is none, or more than one."""
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder, seen from {Path.cwd()}; give a folder with pictures")
    names = [f"{TABLE}{suffix}" for suffix in SUFFIXES]
    present = [name for name in names if (root / name).is_file()]
    if len(present) > 1:
        raise DataError(f"{root}: has {' and '.join(present)}; keep one of them")
    if not present:
        others = sorted(path.name for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
        hint = f"rename {others[0]}" if len(others) == 1 else "write one"
        raise DataError(
            f"{root}: has no {', '.join(names[:-1])} or {names[-1]}; {hint}, with the columns "
            f"{', '.join(ANSWERED)}"
        )
    return root / present[0]


class Names(Protocol):
    """Gives the name of a picture as ``hacore_folder.pictures.Pictures`` does."""

    def name(self, given: str) -> str: ...


def read_questions(
    findings: Findings, pictures: Names, *, answered: bool = True
) -> tuple[list[Question], list[str]]:
    """The questions of ``findings.path`` in order, and notes on what is unusual but not wrong.

    answered: whether they come with answers, and may come with splits and types. What is wrong is in
    ``findings``, and such records are left out. DataError when the file cannot be read.
    """
    needed = ANSWERED if answered else ASKED
    table = read_table(findings, needed)
    if not {*needed} <= {*table.columns}:
        return [], []
    questions = read_table_records(findings, pictures, table, answered)
    known = {*ANSWERED, *OPTIONAL}
    ignored = [name for name in table.columns if name and name not in known]
    notes = [
        f"{findings.path}: the column '{name}' is not read{did_you_mean(name, OPTIONAL)}" for name in ignored
    ]
    return questions, notes


def read_table_records(findings: Findings, pictures: Names, table: Table, answered: bool) -> list[Question]:
    """The questions of the records that are right."""
    reader = _Reader(findings, pictures, table, answered)
    return [question for record in table.records if (question := reader.read(record))]


class _Reader:
    """Checks one record after another."""

    def __init__(self, findings: Findings, pictures: Names, table: Table, answered: bool) -> None:
        self._findings, self._pictures, self._answered = findings, pictures, answered
        self._separated = findings.path.suffix.lower() == ".csv"
        self._has_splits = answered and any(_given(record, "split") for record in table.records)
        self._has_ids = any(_given(record, "id") for record in table.records)
        self._places: dict[int, str] = {}  # of the ids
        self._absent: set[str] = set()  # images that are named already

    def read(self, record: Record) -> Question | None:
        """The question of a record, None if anything is wrong with it."""
        before = len(self._findings)
        question = self._text(record, "question")
        words = tuple(Dataset.split_words(question))
        if question and not words:
            self._note(record, f"question '{question}' has no words; write one, or remove the row")
        read = Question(
            line=record.line,
            item=record.item,
            image=self._image(record),
            question=question,
            words=words,
            answers=self._answers(record) if self._answered else (),
            split=self._split(record) if self._has_splits else "",
            type=self._text(record, "type", needed=False) if self._answered else "",
            id=self._id(record) if self._has_ids else record.item or record.line,
        )
        # A picture that is named already is no finding of this record.
        return None if len(self._findings) > before or not read.image else read

    def _note(self, record: Record, problem: str) -> None:
        self._findings.note(record.line, problem, record.item)

    def _text(self, record: Record, column: str, *, needed: bool = True) -> str:
        text = _plain(record.values.get(column))
        if text is None:
            self._note(record, f"{column} is {_kind(record.values[column])}; write a text")
            return ""
        if needed and not text:
            self._note(record, f"{column} is empty; write one, or remove the row")
        return text

    def _image(self, record: Record) -> str:
        given = self._text(record, "image")
        try:
            return self._pictures.name(given) if given else ""
        except DataError as error:
            if given not in self._absent:  # once, however many questions there are about it
                self._absent.add(given)
                self._note(record, str(error))
            return ""

    def _answers(self, record: Record) -> tuple[str, ...]:
        value = record.values.get("answer")
        if isinstance(value, list):
            values = value
        else:
            text = self._text(record, "answer")
            if not text:
                return ()
            values = text.split("|") if self._separated else [text]
        texts = [_plain(each) for each in values]
        if not texts or not all(texts):
            self._note(record, "one of the answers is empty or is no text; write texts, or remove it")
            return ()
        different: dict[str, str] = {}  # those that differ in case alone are one answer
        for each in filter(None, texts):
            different.setdefault(each.casefold(), each)
        return tuple(different.values())

    def _split(self, record: Record) -> str:
        text = _plain(record.values.get("split")) or ""
        if text.lower() in SPLITS:
            return text.lower()
        what = f"split '{text}' is unknown{did_you_mean(text.lower(), SPLITS)}" if text else "split is empty"
        self._note(record, f"{what}; write {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, in every row or in none")
        return ""

    def _id(self, record: Record) -> int:
        value = record.values.get("id")
        number = whole_number(value)
        if number is None and isinstance(value, str):
            digits = value.strip().removesuffix(".0")  # as pandas writes them beside an empty cell
            number = int(digits) if digits.removeprefix("-").isdecimal() and len(digits) < 1000 else None
        if number is None:
            self._note(record, f"id is {value!r}; must be {ALLOWED}; or leave the column out")
            return 0
        if number in self._places:
            self._note(record, f"id {number} is that of {self._places[number]} too; give each its own")
        self._places.setdefault(number, f"item {record.item}" if record.item else f"line {record.line}")
        return number


def _given(record: Record, column: str) -> bool:
    return record.values.get(column) not in (None, "") and str(record.values[column]).strip() != ""


def _plain(value: Any) -> str | None:
    """A text with single spaces, accents composed; of a number its digits, of nothing "". None: no text."""
    if value is None:
        return ""
    if type(value) is float and value.is_integer():
        value = int(value)  # as pandas writes whole numbers beside an empty cell
    if isinstance(value, str) or type(value) in (int, float):
        return " ".join(composed(str(value)).split())
    return None


def _kind(value: Any) -> str:
    kinds: Sequence[tuple[type, str]] = ((bool, str(value).lower()), (list, "a list"), (dict, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "no text")
