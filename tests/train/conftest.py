"""A training that takes a second: 29 images, 8 steps an epoch, dropout, batch norm, a hard choice."""

import json

import attrs
import pytest
import torch

import hacore
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder

SECTIONS = {
    "seed": 3,
    "data": {"use": "sort-of-clevr", "images": 41, "held_out": 6, "validation": 6},
    "aggregator": {"use": "sum-pool"},
    "head": {"hidden": [16], "dropout": 0.3},
    "train": {
        "batch_images": 4,
        "epochs": 3,
        "lr": 0.01,
        "warmup_steps": 3,
        "checkpoint_steps": 5,
        "log_steps": 3,
        "threads": 1,
        "precision": "float32",  # "auto" depends on the machine
    },
    "eval": {"every_epochs": 0.5, "baseline_steps": 2},
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small tensors; and runs in this process leave the number of threads as it was."""


@pytest.fixture
def make_spec(small_table):
    """make_spec({"train.steps": 3}): the spec above with some values replaced."""

    def make(changes=()):
        table = small_table("tiny", **SECTIONS)
        for key, value in dict(changes).items():
            *sections, last = key.split(".")
            inner = table
            for section in sections:
                inner = inner[section]
            inner[last] = value
        return hacore.resolve(table)

    return make


@attrs.frozen
class Contents:
    """What a run left, without the times."""

    last: dict
    best: dict
    states: list
    metrics: list
    result: dict
    predictions: bytes


@pytest.fixture
def contents():
    """contents(folder): everything of a finished run that a second run must give too."""

    def read(folder):
        last, last_state = load_tensors(folder.last)
        best, best_state = load_tensors(folder.best)
        states = [last_state, best_state]
        for state in states:
            # The length of the metrics depends on how many digits the seconds have.
            del state["seconds"], state["metrics_bytes"]
        metrics = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
        for line in metrics:
            del line["seconds"]
        result = folder.result().as_dict()
        del result["training"]["seconds"], result["training"]["questions_per_second"]
        predictions = folder.predictions_file("test").read_bytes()
        return Contents(last, best, states, metrics, result, predictions)

    return read


@pytest.fixture
def assert_same(contents):
    """assert_same(folder, other): two runs left the same, bit for bit."""

    def compare(folder, other):
        one, two = contents(folder), contents(other)
        for name in ("last", "best"):
            mine, yours = getattr(one, name), getattr(two, name)
            assert mine.keys() == yours.keys()
            assert [key for key in mine if not torch.equal(mine[key], yours[key])] == []
        assert one.states == two.states
        assert one.metrics == two.metrics
        assert one.result == two.result
        assert one.predictions == two.predictions

    return compare


@pytest.fixture(scope="session")
def _references():
    return {}


@pytest.fixture
def uninterrupted(make_spec, _references, tmp_path_factory):
    """uninterrupted(changes): the folder of a whole run, made once a session."""

    def run(changes=()):
        key = json.dumps(dict(changes), sort_keys=True)
        if key not in _references:
            folder, _ = hacore.run(make_spec(changes), runs=tmp_path_factory.mktemp("whole"), device="cpu")
            _references[key] = folder.path
        return RunFolder(_references[key])

    return run
