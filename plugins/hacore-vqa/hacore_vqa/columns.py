"""Questions and annotations of a split as columns of numbers, and what is wrong with them."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.ids import id_column
from hacore_packing.words import Numbering, WordColumn

from hacore_vqa.findings import Findings
from hacore_vqa.metric import strip
from hacore_vqa.official import COCO, IMAGE_IDS, Split
from hacore_vqa.records import PEOPLE, Annotation, Question, read_records
from hacore_vqa.words import split_words


@attrs.define(kw_only=True)
class Texts:
    """Texts by number, the same in all splits: words, stripped answers, types."""

    words: Numbering = attrs.Factory(Numbering)
    answers: Numbering = attrs.Factory(Numbering)
    question_types: Numbering = attrs.Factory(Numbering)
    answer_types: Numbering = attrs.Factory(Numbering)


@attrs.frozen(kw_only=True, eq=False)
class Columns:
    """The questions of a split, Q of them, in the order of the questions file.

    words: (total,) int32 numbers, end to end; question q is words[offsets[q]:offsets[q + 1]], offsets
    (Q + 1,) int64. coco: (Q,) int8 index into ``official.COCO``, image: (Q,) int64 id in there. ids: (Q,)
    question_id, see ``id_column``. given: (Q, 10) int32 numbers of the people's answers, chosen: (Q,) int32
    that of multiple_choice_answer; question_type: (Q,) int16; answer_type: (Q,) int8; all -1 without
    annotations.
    notes: what is unusual about the files, but not wrong.
    """

    words: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    coco: npt.NDArray[np.int8]
    image: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    given: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.int32]
    question_type: npt.NDArray[np.int16]
    answer_type: npt.NDArray[np.int8]
    notes: list[str] = attrs.Factory(list)

    def __len__(self) -> int:
        return len(self.ids)


def read_split(root: Path, split: Split, texts: Texts) -> tuple[Columns, list[str]]:
    """The columns of a split, and every problem with its files, one line each.

    DataError when a file cannot be opened.
    """
    asked = Findings(root / split.questions)
    column, coco, image = WordColumn(texts.words), array("b"), array("q")
    ids: list[int] = []
    folder_of = {name: number for number, name in enumerate(COCO)}
    for question in read_records(asked.path, Question, asked):
        folder = folder_of.get(split.coco or question.coco_split, -1)
        if folder < 0 or not 0 <= question.image_id < IMAGE_IDS:
            asked.note(_misplaced(question), question.question_id)
            continue
        column.add(split_words(question.question))
        coco.append(folder)
        image.append(question.image_id)
        ids.append(question.question_id)
    count = len(ids)
    words, offsets = column.columns()
    columns = Columns(
        words=words,
        offsets=offsets,
        coco=np.array(coco, np.int8),
        image=np.array(image, np.int64),
        ids=id_column(ids),
        given=np.full((count, PEOPLE), -1, np.int32),
        chosen=np.full(count, -1, np.int32),
        question_type=np.full(count, -1, np.int16),
        answer_type=np.full(count, -1, np.int8),
    )
    problems = asked.lines()
    if split.annotations:
        problems += _annotate(Findings(root / split.annotations), columns, texts, asked)
    return columns, problems


def _misplaced(question: Question) -> str:
    if not 0 <= question.image_id < IMAGE_IDS:
        return f"image_id is {question.image_id}; must be a whole number from 0 to {IMAGE_IDS - 1}"
    return f"coco_split is {question.coco_split!r}; must be {' or '.join(COCO[:2])}"


def _annotate(findings: Findings, columns: Columns, texts: Texts, asked: Findings) -> list[str]:
    """Fills in what the annotations say. asked: what is wrong with the questions, which is named there."""
    noted, complete = asked.records(), not asked.broken and not asked.unnamed
    row_of = {number: row for row, number in enumerate(columns.ids.tolist())}
    images, number = columns.image.tolist(), _Stripped(texts.answers).__getitem__
    rows, given, chosen, question_types, answer_types = (array(code) for code in "qiihb")
    merged = 0
    for annotation in read_records(findings.path, Annotation, findings):
        row = row_of.get(annotation.question_id, -1)
        if row < 0:
            if complete and annotation.question_id not in noted:
                findings.note("is not in the questions file", annotation.question_id)
            continue
        if annotation.image_id != images[row]:
            what = f"is about image {annotation.image_id}, in the questions file about {images[row]}"
            findings.note(what, annotation.question_id)
        merged += annotation.merged()
        if annotation.twice():
            findings.note(
                "has two answers with the same answer_id; they must be ten people's", annotation.question_id
            )
        if annotation.multiple_choice_answer is None:
            findings.note("has no 'multiple_choice_answer'", annotation.question_id)
            continue
        rows.append(row)
        given.extend([number(one.answer) for one in annotation.answers])
        chosen.append(number(annotation.multiple_choice_answer))
        question_types.append(texts.question_types[annotation.question_type])
        answer_types.append(texts.answer_types[annotation.answer_type])
    place = np.array(rows, np.int64)
    columns.given[place] = np.array(given, np.int32).reshape(-1, PEOPLE)
    columns.chosen[place] = np.array(chosen, np.int32)
    columns.question_type[place] = np.array(question_types, np.int16)
    columns.answer_type[place] = np.array(answer_types, np.int8)
    if merged:
        columns.notes.append(
            f"{findings.path}: {merged:,} questions have equal answers without answer_id; they count as ten "
            "people's, while the official tool and 'hacore score' count them as one person's"
        )
    if not findings.broken:  # every question would be named
        lacking = set(columns.ids[columns.chosen < 0].tolist()) - findings.records()
        for question in sorted(lacking) if len(lacking) > findings.unnamed else ():
            findings.note("has no annotation", question)
    return findings.lines()


class _Stripped(dict[str, int]):
    """Numbers of answers as they were given: that of the stripped text."""

    def __init__(self, numbers: Numbering) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, answer: str) -> int:
        number = self[answer] = self._numbers[strip(answer)]
        return number
