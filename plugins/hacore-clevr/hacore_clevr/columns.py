"""Questions as columns of numbers, and what is wrong with the records they come from."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.ids import ALLOWED, id_column, whole_number
from hacore_packing.words import Numbering, WordColumn

from hacore.machine.texts import composed
from hacore_clevr.domain import ANSWERS, QUESTION_TYPES
from hacore_clevr.families import family_number, last_function
from hacore_clevr.objects import MALFORMED, UNKNOWN, Scenes
from hacore_clevr.programs import ProgramError, plain_program
from hacore_clevr.words import split_words

_ANSWER = {answer: index for index, answer in enumerate(ANSWERS)}
_FUNCTION = {function: index for index, function in enumerate(QUESTION_TYPES)}
_FAMILIES = 2**15
_NAMED = 50  # how many records a line names; the others are only counted


@attrs.frozen(kw_only=True, eq=False)
class Columns:
    """The questions of a split, Q of them, in the order of the file.

    vocabulary: words by their number in this split, in the order of their first use. words: (total,)
    uint16 numbers, end to end. offsets: (Q + 1,) int64; question q is words[offsets[q]:offsets[q + 1]].
    image: (Q,) int32 row of the split's images. answer: (Q,) int8 index into ``domain.ANSWERS``, -1
    unknown. family: (Q,) int16, -1 unknown. function: (Q,) int8 index into ``domain.QUESTION_TYPES`` of
    the program's last function, without a program of the family's, -1 unknown. ids: (Q,)
    ``question_index``, see ``id_column``. steps: (Q,) int16, functions of the program, its composites written
    out, 0 without a program. relevant: (Q,) int32, the objects that a question is about, one bit
    an object, -1 where that is not known.
    """

    vocabulary: tuple[str, ...]
    words: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int64]
    image: npt.NDArray[np.int32]
    answer: npt.NDArray[np.int8]
    family: npt.NDArray[np.int16]
    function: npt.NDArray[np.int8]
    ids: npt.NDArray[Any]
    steps: npt.NDArray[np.int16]
    relevant: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.image)


def collect(records: Iterable[Any], images: Sequence[str]) -> tuple[Columns, list[str]]:
    """The columns of question records as the official file lists them, and everything wrong with them.

    images: names of the split's images, in the order of their rows. Problems are a line each; records
    with a problem are left out of the columns.
    """
    collector = Collector(images)
    for record in records:
        collector.add(record)
    return collector.finish()


class Collector:
    """Makes the columns record by record.

    images: as for ``collect``; None when they are not known, then only the rest is checked. scenes: of the
    images, where there are any.
    """

    def __init__(self, images: Sequence[str] | None, scenes: Scenes | None = None) -> None:
        self.seen = 0
        self._scenes = scenes
        self._rows = None if images is None else {composed(name): row for row, name in enumerate(images)}
        self._index_of: dict[str, Any] = {}  # image_index by image_filename
        self._found: dict[str, list[int]] = {}  # records by what is wrong with them
        self._numbers = Numbering()
        self._words, self._record = WordColumn(self._numbers, "H"), array("q")
        self._ids: list[int] = []
        self._image, self._answer, self._family, self._function, self._steps, self._relevant = (
            array(code) for code in "ibhbhi"
        )

    def add(self, record: Any) -> None:
        """The next record of the file."""
        number = self.seen
        self.seen += 1
        wrong: list[str] = []
        if type(record) is not dict:
            self._note([f"is {_shown(record)}; must be an object"], number)
            return
        words = _words(record, wrong)
        row = self._row(record, wrong)
        identity = _id(record, "question_index", wrong)
        family = _family(record, wrong)
        answer = _answer(record, wrong)
        function = _last_function(record, family, wrong)
        if wrong:
            self._note(wrong, number)
            return
        self._words.add(words)
        self._image.append(row)
        self._answer.append(answer)
        self._family.append(family)
        self._function.append(function)
        self._ids.append(identity)
        self._steps.append(_steps(record))
        self._relevant.append(UNKNOWN if self._scenes is None else self._scenes.relevant(record))
        self._record.append(number)

    def finish(self) -> tuple[Columns, list[str]]:
        """The columns, and the problems: similar ones in one line, with their count."""
        words, offsets = self._words.columns()
        columns = Columns(
            vocabulary=tuple(self._numbers),
            words=words,
            offsets=offsets,
            image=np.array(self._image, np.int32),
            answer=np.array(self._answer, np.int8),
            family=np.array(self._family, np.int16),
            function=np.array(self._function, np.int8),
            ids=id_column(self._ids),
            steps=np.array(self._steps, np.int16),
            relevant=np.array(self._relevant, np.int32),
        )
        self._check_answers(columns)
        self._check_ids(columns)
        return columns, [f"{_places(records)}: {what}" for what, records in self._found.items()]

    def _note(self, wrong: list[str], record: int) -> None:
        for what in wrong:
            self._found.setdefault(what, []).append(record)

    def _row(self, record: dict[str, Any], wrong: list[str]) -> int:
        name = record.get("image_filename")
        if type(name) is not str:
            wrong.append(_unfit(record, "image_filename", "a file's name"))
            return -1
        row = -1 if self._rows is None else self._rows.get(composed(name), -1)
        if row < 0 and self._rows is not None:
            wrong.append(f"image {name} is not among the split's images; unpack it again")
        index = record.get("image_index")
        if index is not None:
            index = _id(record, "image_index", wrong)
        before = self._index_of.setdefault(name, index)
        if before != index:
            wrong.append(f"image {name} has image_index {_shown(index)}, before it had {_shown(before)}")
        return row

    def _check_answers(self, columns: Columns) -> None:
        if (columns.answer >= 0).any():
            for position in np.flatnonzero(columns.answer < 0).tolist():
                self._note(["has no 'answer', while other questions of the split do"], self._record[position])

    def _check_ids(self, columns: Columns) -> None:
        order = np.argsort(columns.ids, kind="stable")
        repeated = np.flatnonzero(np.diff(columns.ids[order]) == 0) + 1
        for position in order[repeated].tolist():
            self._note([f"question_index {columns.ids[position]} was used before"], self._record[position])


def _words(record: dict[str, Any], wrong: list[str]) -> list[str]:
    question = record.get("question")
    words = split_words(question) if type(question) is str else []
    if not words:
        wrong.append(_unfit(record, "question", "a text with at least one word"))
    return words


def _id(record: dict[str, Any], field: str, wrong: list[str]) -> int:
    number = whole_number(record.get(field))
    if number is None:
        wrong.append(_unfit(record, field, ALLOWED))
        return -1
    return number


def _family(record: dict[str, Any], wrong: list[str]) -> int:
    """The family's number, -1 for none."""
    value, file = record.get("question_family_index", -1), record.get("template_filename")
    if type(value) is int and -1 <= value < _FAMILIES:
        return family_number(file, value) if type(file) is str else value
    wrong.append(_unfit(record, "question_family_index", f"an integer in [0, {_FAMILIES})"))
    return -1


def _answer(record: dict[str, Any], wrong: list[str]) -> int:
    """Index of the answer, -1 for none. Public generators write numbers and booleans, not strings."""
    value = record.get("answer")
    if value is None:
        return -1
    if value is True or value is False:
        value = "yes" if value else "no"
    index = _ANSWER.get(str(value), -1)
    if index < 0:
        wrong.append(f"answer {_shown(value)} is unknown; the answers are {', '.join(ANSWERS)}")
    return index


def _last_function(record: dict[str, Any], family: int, wrong: list[str]) -> int:
    """Index of the last function, without a program that of the family; -1 if neither tells.

    Released files call it function, others type.
    """
    program = record.get("program")
    if program is None:
        return _FUNCTION.get(last_function(family), -1)
    node = program[-1] if type(program) is list and program else None
    name = node.get("function", node.get("type")) if type(node) is dict else None
    index = _FUNCTION.get(name, -1) if type(name) is str else -1
    if index < 0:
        ending = f"program ends with {_shown(name or node or program)}"
        wrong.append(f"{ending}; the last function must be one of {', '.join(QUESTION_TYPES)}")
    return index


def _steps(record: dict[str, Any]) -> int:
    """Functions of the program; 0 without one, or where it cannot be written out."""
    try:
        return len(plain_program(record.get("program") or ()))
    except (ProgramError, *MALFORMED):
        return 0


def _unfit(record: dict[str, Any], field: str, allowed: str) -> str:
    if field not in record:
        return f"has no '{field}'; must be {allowed}"
    return f"'{field}' is {_shown(record[field])}; must be {allowed}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _places(records: list[int]) -> str:
    named = ", ".join(map(str, records[:_NAMED]))
    if len(records) == 1:
        return f"question {named}"
    more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    return f"{len(records)} questions ({named}{more})"
