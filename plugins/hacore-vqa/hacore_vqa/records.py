"""The records of the official files, read fast and one by one. Imports no torch.

A file is one list: of VQA v2 inside an object, under ``questions`` or ``annotations``; of VQA-CP v2 and of
results files by itself. Both are taken. The text is scanned once for where records begin and end; each
record is made into an object only when it is asked for, so that memory holds the text and one record.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hacore_packing.ids import ALLOWED, whole_number

from hacore.errors import DataError
from hacore.machine.texts import HEAD, TextError, text_start
from hacore_vqa.findings import Findings

DIGITS = re.compile("-?[0-9]{1,4000}")
"""An id in words; Python reads no longer ones."""
PEOPLE = 10
"""Answers to each question."""


Scalar = int | float | str | bool | None
"""What is only compared may be anything that the official tool compares."""


class Question(msgspec.Struct, gc=False):
    """coco_split: ``train2014`` or ``val2014`` in VQA-CP, "" elsewhere."""

    question_id: int
    image_id: int
    question: str
    coco_split: str = ""


class Answer(msgspec.Struct, gc=False):
    """One person's answer."""

    answer: str
    answer_id: Scalar = None
    answer_confidence: Scalar = None


class Annotation(msgspec.Struct, gc=False):
    """The answers of ten people to a question; multiple_choice_answer: the most frequent one."""

    question_id: int
    image_id: int
    question_type: str
    answer_type: str
    answers: list[Answer]
    multiple_choice_answer: str | None = None

    def people(self) -> list[Hashable] | None:
        """Values that tell entries with the same answer apart; None when ``answer_id`` alone does.

        Entries without ``answer_id`` are not told apart by it, as in the official tool.
        """
        if len({answer.answer_id for answer in self.answers}) == len(self.answers):
            return None
        return [(answer.answer_id, answer.answer_confidence) for answer in self.answers]

    def twice(self) -> bool:
        """Whether two entries name the same person; those without ``answer_id`` name nobody."""
        named = [answer.answer_id for answer in self.answers if answer.answer_id is not None]
        return len(set(named)) < len(named)

    def merged(self) -> bool:
        """Whether entries without ``answer_id`` are identical: one person's, to the official tool."""
        entries = [
            (answer.answer, answer.answer_confidence) for answer in self.answers if answer.answer_id is None
        ]
        return len(set(entries)) < len(entries)


class Result(msgspec.Struct, gc=False):
    """A model's answer to a question."""

    question_id: int
    answer: str


RecordT = TypeVar("RecordT", Question, Annotation, Result)
_TOP = re.compile(rb"[ \t\r\n]*(.?)", re.DOTALL)
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEYS = {Question: "questions", Annotation: "annotations", Result: ""}


def read_records(path: Path, kind: type[RecordT], findings: Findings) -> Iterator[RecordT]:
    """The records of a file in order; invalid ones are noted and left out.

    Ids are whole numbers of any size, see ``hacore_packing.ids``. Problems go into ``findings``: text that is
    cut off, not JSON or not UTF-8, fields that are missing or of another type, an id that occurs again (the
    first one counts), a number of answers other than ten. A record is named by its id, or by its place in the
    file from 0 if it has none. DataError when the file cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            # Mapped, so that the text need not be in memory twice while it is scanned.
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except OSError as error:
        cause = error.strerror or error
        raise DataError(f"{path}: cannot be read ({cause}); give the official file") from error
    decode = msgspec.json.Decoder(kind).decode
    ids: set[int] = set()
    for place, raw in enumerate(_scan(text, _KEYS[kind], findings)):
        try:
            record = decode(raw)
        except msgspec.ValidationError:
            try:
                record = _with_ids(raw, kind)
            except _BROKEN as error:
                findings.note(_words(error), _name(raw, place))
                continue
        except _BROKEN as error:
            findings.note(_words(error), _name(raw, place))
            continue
        if record.question_id in ids:
            findings.note("occurs more than once", record.question_id)
            continue
        ids.add(record.question_id)
        if isinstance(record, Annotation) and len(record.answers) != PEOPLE:
            count = len(record.answers)
            findings.note(f"has {count} answers; must have {PEOPLE}", record.question_id)
            continue
        yield record


class _Head(msgspec.Struct):
    question_id: Any = None


_IDS = ("question_id", "image_id")
_UNFIT = {
    str: "a string",
    float: "a float that is not whole or may be rounded",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def _with_ids(raw: msgspec.Raw, kind: type[RecordT]) -> RecordT:
    """A record that has floats for ids, as pandas writes them. Raises ValidationError for other faults."""
    table = msgspec.json.decode(raw)
    for name in _IDS if isinstance(table, dict) else ():
        if name in table and name in kind.__struct_fields__:
            number = whole_number(table[name])
            if number is None:
                raise msgspec.ValidationError(f"{name} is {_UNFIT[type(table[name])]}; must be {ALLOWED}")
            table[name] = number
    return msgspec.convert(table, kind)


def _name(raw: msgspec.Raw, place: int) -> int | str:
    """The id of a record with an invalid field, or its place where it has none."""
    try:
        value = msgspec.json.decode(raw, type=_Head).question_id
    except _BROKEN:
        value = None
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)  # what it stands for, so that this question is not said to be missing too
    number = whole_number(value)
    return f"in place {place}" if number is None else number


def _scan(file: mmap.mmap | bytes, key: str, findings: Findings) -> list[msgspec.Raw]:
    """The records' texts; none when the file is not a list of them."""
    allowed = f"a list, or an object with the list '{key}'" if key else "a list"
    try:
        text = memoryview(file)[text_start(file[:HEAD]) :]
        top = _TOP.match(text)[1]  # type: ignore[index]  # it matches anything
        if top == b"[":
            records = msgspec.json.decode(text, type=list[msgspec.Raw])
        elif key and top == b"{":
            fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            if key not in fields:
                findings.add(f"has no list '{key}'; must be {allowed}")
                return []
            records = msgspec.json.decode(fields[key], type=list[msgspec.Raw])
        else:
            msgspec.json.decode(text, type=msgspec.Raw)  # cut off, or other JSON
            findings.add(f"must be {allowed}")
            return []
    except TextError as error:
        findings.add(str(error))
        return []
    except _BROKEN as error:
        if "truncated" in str(error):
            findings.add(f"is cut off after {len(file):,} bytes; download or unpack it again")
        else:
            findings.add(f"is not such a JSON file ({error}); must be {allowed}")
        return []
    if not records:
        findings.add("holds no questions")
    return records


def _words(error: Exception) -> str:
    """What msgspec found, in one line; ``$`` is the record."""
    if isinstance(error, UnicodeDecodeError):
        return f"has the byte {error.object[error.start]:#04x}, which is not UTF-8; save the file as UTF-8"
    text = str(error).replace("`", "'")
    return f"{text[:1].lower()}{text[1:]}"
