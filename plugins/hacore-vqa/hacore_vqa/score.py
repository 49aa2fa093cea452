"""``hacore score vqa``: what the official evaluation gives for a results file. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.files import write_whole
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
    for annotation in read_records(paths["annotations"], Annotation, findings["annotations"]):
        annotated.add(annotation.question_id)
        if annotation.question_id in answers:
            tally.add(annotation.question_id, _truth(annotation), answers[annotation.question_id])
    _compare(findings["questions"], asked, findings["annotations"], annotated, "has no annotation")
    _compare(findings["questions"], asked, findings["results"], set(answers), "has no answer")
    problems = [line for finding in findings.values() for line in finding.lines()]
    if problems:
        return Outcome(summary={}, problems=tuple(problems))
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


def _compare(asking: Findings, asked: set[int], findings: Findings, others: set[int], lacking: str) -> None:
    """Notes questions of one file only. A record with another problem is named for that alone."""
    if asking.broken or findings.broken:  # every question would be named
        return
    noted = asking.records() | findings.records()
    for question in sorted(asked - others - noted):
        findings.note(lacking, question)
    for question in sorted(others - asked - noted):
        findings.note("is not in the questions file", question)
