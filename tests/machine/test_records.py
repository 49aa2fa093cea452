"""What a run folder's JSON objects promise: typed, a mapping, and refused when they are something else."""

import json

import attrs
import pytest
from hacore_report.predictions import read_predictions

from hacore.errors import RunError
from hacore.measure.predictions import Prediction
from hacore.measure.scores import Part, Scores

PREDICTION = {
    "id": 7,
    "image": 1,
    "type": "left",
    "answer": None,
    "prediction": "no",
    "score": None,
    "kept": 2,
    "format": 1,
}


def test_a_record_is_the_json_object_that_it_is_written_as():
    part = Part(accuracy=0.5, questions=4)
    scores = Scores(questions=4, loss=1.0, accuracy=0.5, kept=0.1, by_type={"left": part}, by_group={})
    table = json.loads(json.dumps(scores.as_dict()))
    assert scores == table
    assert {**scores} == table
    assert [*scores] == [*table]
    assert scores["by_type"]["left"]["accuracy"] == scores.by_type["left"].accuracy == 0.5
    assert Scores.from_dict(table, "here", "again") == scores
    assert "accuracy" in scores
    assert "precision" not in scores
    with pytest.raises(KeyError):
        scores["precision"]


def test_keys_that_earlier_versions_did_not_write_are_none_and_stay_out():
    line = Prediction.from_dict(PREDICTION, "here", "again")
    assert (line.cells, line.weights, line.probability) == (None, None, None)
    assert line.as_dict() == PREDICTION
    assert "answer" in line  # None has a meaning there
    without = {key: value for key, value in PREDICTION.items() if key != "format"}
    assert Prediction.from_dict(without, "here", "again") == line
    assert attrs.evolve(line, cells=[3, 4])["cells"] == [3, 4]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": 2}, "format 2"),
        ({"kept": "2"}, "kept"),
        ({"id": True}, "id"),
        ({"score": "right"}, "score"),
        ({"cells": [1.5]}, "cells"),
    ],
)
def test_what_was_not_written_by_this_version_is_refused_with_place_and_key(tmp_path, names, change, problem):
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (PREDICTION, {**PREDICTION, **change})))
    with pytest.raises(RunError) as error:
        read_predictions(path)
    names(str(error.value), f"{path}:2", problem)


@pytest.mark.parametrize("table", [[], 3, None, {"id": 1}])
def test_what_is_no_record_at_all_is_refused(names, table):
    with pytest.raises(RunError) as error:
        Prediction.from_dict(table, "here", "again")
    names(str(error.value), "here", "again")
