"""Models of random weights, as ``hacore.load`` would give them, without a training."""

import pytest
import torch

import hacore
from hacore.runs.data_summary import DataSummary
from hacore.runs.trained import Trained

WORDS = "is the red object blue gray circle on left what shape of it closest to how many same ?"
ANSWERS = ("yes", "no", "circle", "square", "2")
BASE = {
    "name": "exported",
    "data": {"use": "sort-of-clevr"},
    "image_encoder": {"use": "small-cnn", "channels": [6, 8], "strides": [4]},
    "question_encoder": {"use": "lstm", "embedding": 5, "hidden": 12},
    "fuser": {"use": "multiply", "width": 10},
    "selector": {"use": "l2-topk", "k": 5},
    "aggregator": {"use": "rn", "width": 9},
    "head": {"hidden": [8]},
}


def make_trained(folder, **sections):
    """A loaded run of 25 cells whose weights, batch norm's statistics included, are random."""
    spec = hacore.resolve({**BASE, **sections})
    summary = DataSummary(
        vocabulary=("<pad>", "<unk>", *WORDS.split()),
        answers=ANSWERS,
        image_size=(3, 75, 75),
        image_mean=(0.9, 0.8, 0.7),
        image_std=(0.2, 0.3, 0.25),
        word_vectors=0,
        fingerprint="made-up",
    )
    torch.manual_seed(1)
    model = hacore.compose(spec, summary.sizes())
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.05, 0.5)
    return Trained(
        folder=hacore.RunFolder(folder),
        spec=spec,
        summary=summary,
        model=model.eval(),
        device=torch.device("cpu"),
        trained_on=spec.data,
        step=7,
    )


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    return lambda **sections: make_trained(tmp_path_factory.mktemp("run"), **sections)
