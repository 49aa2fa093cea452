"""Run folders as finished runs leave them, made without training, and those of runs of a second."""

import json
import shutil

import pytest

import hacore
from hacore.spec import dump_spec, load_spec, resolve, set_values

TABLE = {
    "name": "made",
    "data": {"use": "sort-of-clevr"},
    "image_encoder": {"use": "small-cnn"},
    "question_encoder": {"use": "lstm"},
    "fuser": {"use": "multiply"},
    "selector": {"use": "l2-topk", "k": 10},
    "aggregator": {"use": "rn"},
}

SELECTORS = {
    "han": ["selector.k=7"],
    "adahan": ['selector={use="adahan"}'],
    "san": ['selector={use="soft-attention"}', 'aggregator={use="sum-pool"}'],
}
SMALL = [
    *("data.images=40", "data.held_out=5", "data.validation=5", "image_encoder.channels=[4, 8]"),
    *("image_encoder.strides=[4]", "train.steps=3", "train.batch_images=4", "train.threads=1"),
    *("train.warmup_steps=0", "train.log_steps=1", "eval.baseline_steps=1"),
]


@pytest.fixture
def write_run(tmp_path):
    """write_run("selector.k=4", seed=1, accuracy=0.9, ...) writes a run folder and returns its path.

    Arguments are overrides of a spec; named ones replace a value of result.json, with ``__`` for the
    dots, and None leaves it out.
    """
    count = 0

    def make(*overrides, seed=0, folder=None, **results):
        nonlocal count
        count += 1
        table = json.loads(json.dumps(TABLE))
        set_values(table, [*overrides, f"seed={seed}"])
        path = folder or tmp_path / "runs" / f"20260101-{count:06}-abcdef"
        path.mkdir(parents=True)
        (path / "spec.toml").write_text(dump_spec(resolve(table)))
        result = {
            "name": table["name"],
            "split": "test",
            "data": {"dataset": "sort-of-clevr", "fingerprint": "f"},
            "seed": seed,
            "questions": 400,
            "loss": 0.7,
            "accuracy": 0.5,
            "kept": 0.1,
            "by_type": {"shape": {"accuracy": 0.25, "questions": 100}},
            "by_group": {"relational": {"accuracy": 0.75, "questions": 200}},
            "checkpoint": {"step": 7, "val_accuracy": 0.625},
            "multiply_adds": 2_000_000,
            "baselines": {
                "majority": {
                    "accuracy": 0.375,
                    "by_type": {"shape": 0.5},
                    "by_group": {"relational": 0.4},
                }
            },
            "training": {
                "seconds": 100.0,
                "questions_per_second": 4000.0,
                "processes": 1,
                "threads": 1,
                "device": "a CPU, 2 cores",
            },
        }
        for name, value in results.items():
            *parents, last = name.split("__")
            inner = result
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = value
            if value is None and name not in ("accuracy",):
                del inner[last]
        (path / "result.json").write_text(json.dumps(result))
        return path

    return make


@pytest.fixture(scope="session")
def write_scores():
    """write_scores(run, [(image, type, score), ...]) writes predictions on a split and returns their path."""

    def write(run, questions, split="test", first=0):
        lines = [
            {
                "id": number,
                "image": image,
                "type": name,
                "answer": "a",
                "prediction": "b",
                "score": score,
                "probability": 0.5,
                "kept": 2,
                "cells": [3, 5],
                "weights": [0.5, 0.25],
                "format": 1,
            }
            for number, (image, name, score) in enumerate(questions, first)
        ]
        (run / "predictions").mkdir(exist_ok=True)
        path = run / "predictions" / f"{split}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


@pytest.fixture(scope="session")
def runs(request, tmp_path_factory):
    """{selector: folder of a run of a second}; every one wrote its report."""
    base = tmp_path_factory.mktemp("runs")
    folders = {}
    for name, chosen in SELECTORS.items():
        overrides = [*SMALL, *chosen, f"name={name}"]
        spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", overrides)
        folders[name], _ = hacore.run(spec, runs=base, device="cpu")
    return folders


@pytest.fixture
def copied(runs, tmp_path):
    """A copy of the run of HAN, to be spoilt."""
    shutil.copytree(runs["han"].path, tmp_path / "run")
    return hacore.RunFolder(tmp_path / "run")
