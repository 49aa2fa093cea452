"""``hacore score vqa``: what the official evaluation gives for a results file. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.files import write_whole
from hacore.machine.texts import composed
from hacore_vqa import ScoreConfig
from hacore_vqa.findings import Findings
from hacore_vqa.metric import Tally, Truth
from hacore_vqa.records import Annotation, Question, Result, read_records


def score(config: ScoreConfig, tell: Tell) -> Outcome:
    """Scores the answers to every question of a split.

    The summary is the official tool's: ``overall``, ``perAnswerType``, ``perQuestionType``, percentages of
    two decimals. Nothing is scored while anything is wrong with the files: all of it is listed. DataError
    when a file is not given or cannot be opened.
    """
    given = {name: getattr(config, name) for name in ("questions", "annotations", "results")}
    if missing := [f"--{name}" for name, path in given.items() if not path]:
        raise DataError(f"{', '.join(missing)} not given; name the official files and the results file")
    paths = {name: Path(path).expanduser() for name, path in given.items()}
    findings = {name: Findings(path) for name, path in paths.items()}
    asked = {
        question.question_id for question in read_records(paths["questions"], Question, findings["questions"])
    }
    answers = {
        result.question_id: result.answer
        for result in read_records(paths["results"], Result, findings["results"])
    }
    tally, annotated = Tally(legacy=config.legacy), set()
    merged = spelled = 0
    for annotation in read_records(paths["annotations"], Annotation, findings["annotations"]):
        annotated.add(annotation.question_id)
        if annotation.question_id in answers:
            truth, answer = _truth(annotation), answers[annotation.question_id]
            tally.add(annotation.question_id, truth, answer)
            merged += annotation.merged()
            spelled += _spelled(truth, answer)
    _compare(findings["questions"], asked, findings["annotations"], annotated, "has no annotation")
    _compare(findings["questions"], asked, findings["results"], set(answers), "has no answer")
    problems = [line for finding in findings.values() for line in finding.lines()]
    if problems:
        return Outcome(summary={}, problems=tuple(problems))
    if merged:
        tell.message(
            f"warning: {paths['annotations']}: {merged:,} questions have equal answers without answer_id; "
            "as in the official tool they count as one person's, and score less"
        )
    if spelled:
        tell.message(
            f"warning: {paths['results']}: {spelled:,} answers differ from annotated ones only in how their "
            "accents are encoded; as in the official tool they are other answers"
        )
    report = tally.report()
    if config.per_question:
        text = json.dumps({str(question): score for question, score in report.per_question.items()})
        write_whole(Path(config.per_question).expanduser(), text.encode() + b"\n", "--per-question")
    return Outcome(summary=report.table())


def _truth(annotation: Annotation) -> Truth:
    return Truth(
        answers=[one.answer for one in annotation.answers],
        people=annotation.people(),
        question_type=annotation.question_type,
        answer_type=annotation.answer_type,
    )


def _spelled(truth: Truth, answer: str) -> bool:
    """Whether the answer is one of the annotated ones, but for the form of its accents."""
    if answer.isascii() or answer in truth.answers:
        return False
    return composed(answer) in map(composed, truth.answers)


def _compare(asking: Findings, asked: set[int], findings: Findings, others: set[int], lacking: str) -> None:
    """Notes questions of one file only. A record with another problem is named for that alone.

    Nothing is missing in a file where the ids of as many records could not be read.
    """
    if asking.broken or findings.broken:  # every question would be named
        return
    noted = asking.records() | findings.records()
    for questions, unnamed, what in (
        (asked - others - noted, findings.unnamed, lacking),
        (others - asked - noted, asking.unnamed, "is not in the questions file"),
    ):
        for question in sorted(questions) if len(questions) > unnamed else ():
            findings.note(what, question)
