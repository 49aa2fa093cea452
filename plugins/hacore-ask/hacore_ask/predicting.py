"""The answers of a trained model to a whole table of questions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from hacore_folder.findings import Findings
from hacore_folder.pictures import Pictures
from hacore_folder.questions import Question, read_questions

from hacore.data_tools import Tell
from hacore.errors import DataError, HacoreError
from hacore.pictures import open_picture
from hacore.runs.trained import Trained
from hacore_ask.asking import Reply, ask_many, read_question

COLUMNS = ("id", "image", "question", "answer", "probability", "kept")


@attrs.frozen(kw_only=True)
class Prediction:
    """The answer to a question of a table.

    id: as in ``Question``. probability: of the answer. grid: (rows, columns) of
    cells. kept: (row, column, weight) of the cells that were kept, from the top left.
    """

    id: int
    image: str
    question: str
    answer: str
    probability: float
    grid: tuple[int, int]
    kept: tuple[tuple[int, int, float], ...]


def predict(trained: Trained, table: Path, images: Path, tell: Tell, *, batch: int = 64) -> list[Prediction]:
    """The answers to the questions of a table, in its order.

    images: folder of the pictures. batch: questions answered at once. A picture is read once, and given to
    the model once for every ``batch`` questions about it. DataError that lists, with its line, every row that
    is wrong and every picture that cannot be read; then there are no answers.
    """
    findings, pictures = Findings(table), Pictures(images)
    questions, notes = read_questions(findings, pictures, answered=False)
    for note in notes:
        tell.message(f"warning: {note}")
    for question in questions:
        try:
            read_question(trained, question.question)
        except HacoreError as error:
            findings.note(question.line, str(error), question.item)
    _raise(findings)
    predictions: dict[Question, Prediction] = {}
    for group in _by_image(questions, batch):
        opened = _open(group, pictures, findings)
        if not len(findings):  # else only the other pictures are looked at
            pairs = [(opened[question.image], question.question) for question in group]
            replies = ask_many(trained, pairs, top=1, batch=batch)
            for question, reply in zip(group, replies, strict=True):
                predictions[question] = _prediction(question, reply)
            tell.progress("answering", len(predictions), len(questions))
    _raise(findings)
    return [predictions[question] for question in questions]


def as_csv(predictions: Sequence[Prediction]) -> str:
    """A row each, below ``COLUMNS``; kept cells as ``row:column``, separated by spaces."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in predictions:
        kept = " ".join(f"{row}:{column}" for row, column, _ in one.kept)
        rows.writerow([one.id, one.image, one.question, one.answer, f"{one.probability:.6f}", kept])
    return text.getvalue()


def as_jsonl(predictions: Sequence[Prediction]) -> str:
    """A JSON object a line, with the grid and the weights of the kept cells too."""
    return "".join(json.dumps(record(one), ensure_ascii=False) + "\n" for one in predictions)


def record(prediction: Prediction) -> dict[str, Any]:
    """As JSON holds it."""
    kept = [{"row": row, "column": column, "weight": weight} for row, column, weight in prediction.kept]
    return {**attrs.asdict(prediction), "kept": kept}


def _raise(findings: Findings) -> None:
    if len(findings):
        raise DataError("\n".join(findings.lines()))


def _by_image(questions: Sequence[Question], batch: int) -> Iterator[list[Question]]:
    """Groups of questions, all about a picture in the same one, of about ``batch``."""
    asked: dict[str, list[Question]] = {}
    for question in questions:
        asked.setdefault(question.image, []).append(question)
    group: list[Question] = []
    for about in asked.values():
        if group and len(group) + len(about) > batch:
            yield group
            group = []
        group += about
    if group:
        yield group


def _open(group: Sequence[Question], pictures: Pictures, findings: Findings) -> dict[str, Any]:
    """The pictures of some questions by name; what cannot be read is noted."""
    opened: dict[str, Any] = {}
    for question in group:
        if question.image not in opened:
            try:
                opened[question.image] = open_picture(pictures.path(question.image))
            except DataError as error:
                opened[question.image] = None
                findings.note(
                    question.line, f"{error}; replace it, or remove the rows about it", question.item
                )
    return opened


def _prediction(question: Question, reply: Reply) -> Prediction:
    best = reply.answers[0]
    return Prediction(
        id=question.id,
        image=question.image,
        question=question.question,
        answer=best.answer,
        probability=best.probability,
        grid=reply.grid,
        kept=tuple((cell.row, cell.column, cell.weight) for cell in reply.kept),
    )
