"""The report counts what it is given."""

import json

import pytest
from hacore_clevr.generate.report import report


def question(text, function, answer, family):
    program = [{"function": "scene", "inputs": []}, {"function": function, "inputs": [0]}]
    return {"question": text, "program": program, "answer": answer, "question_family_index": family}


def test_counts_shares_and_lengths():
    questions = [
        question("How many things are there?", "count", "3", 0),
        question("How many red things are there?", "count", "0", 0),
        question("Are there any?", "exist", "yes", 1),
        # As the public generator writes them.
        {"question": "Any?", "program": [{"type": "exist"}], "answer": False, "question_family_index": 1},
        {"question": "What then?"},
    ]
    summary = report(questions, [{"objects": [1, 2, 3]}, {"objects": [1, 2, 3]}, {"objects": [1]}])
    assert (summary["questions"], summary["scenes"]) == (5, 3)
    assert summary["families"] == {
        "-1": {"questions": 1, "answers": {"unknown": 1}},
        "0": {"questions": 2, "answers": {"3": 1, "0": 1}},
        "1": {"questions": 2, "answers": {"yes": 1, "no": 1}},
    }
    assert summary["groups"] == {"count": 0.4, "exist": 0.4, "unknown": 0.2}
    assert summary["words"] == {"min": 1, "mean": 3.4, "max": 6}
    assert summary["objects"] == {"1": 1, "3": 2}
    assert summary["answers"]["yes"] == 1
    json.dumps(summary)


def test_known_shares_are_of_all_families():
    known = report([{"question": "What?"}], [])["known of CLEVR v1.0"]
    assert known["families"] == 90
    assert sum(known["share of families by group"].values()) == pytest.approx(1, abs=1e-3)


def test_nothing_to_report_is_said():
    with pytest.raises(ValueError, match="no questions to report on"):
        report([], [])
