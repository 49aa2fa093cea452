"""A small frozen ResNet with weights of its own, and stores of its features."""

import copy

import pytest
import torch
import torchvision
from hacore_features.make import make_features

import hacore

TABLE = {
    "name": "stored",
    "seed": 3,
    "data": {"use": "sort-of-clevr", "images": 35, "held_out": 5, "validation": 6},
    "image_encoder": {"use": "resnet", "depth": 18, "stage": 2},
    "question_encoder": {"use": "lstm", "embedding": 8, "hidden": 8},
    "fuser": {"use": "multiply", "width": 8},
    "selector": {"use": "l2-topk", "k": 6},
    "aggregator": {"use": "sum-pool"},
    "head": {"hidden": [16], "dropout": 0.3},
    "train": {"batch_images": 4, "epochs": 2, "warmup_steps": 2, "threads": 1, "checkpoint_steps": 3},
    "eval": {"every_epochs": 0.5, "baseline_steps": 2},
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """weights(seed): a file of a ResNet-18."""
    folder = tmp_path_factory.mktemp("weights")

    def write(seed):
        path = folder / f"{seed}.pth"
        if not path.is_file():
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
        return str(path)

    return write


@pytest.fixture(scope="session")
def make_table(weights):
    """make_table({"train.steps": 3}): the spec above with some values replaced, as tables."""

    def make(changes=()):
        table = copy.deepcopy(TABLE)
        table["image_encoder"]["weights"] = weights(0)
        for key, value in dict(changes).items():
            *sections, last = key.split(".")
            inner = table
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[last] = value
        return table

    return make


@pytest.fixture(scope="session")
def make_spec(make_table):
    """As ``make_table``, resolved."""
    return lambda changes=(): hacore.resolve(make_table(changes))


@pytest.fixture(scope="session")
def whole(make_spec, tmp_path_factory):
    """A finished store of float32 in shards of eight images. Not to be changed."""
    root = tmp_path_factory.mktemp("store") / "whole"
    make_features(make_spec(), root, device="cpu", dtype="float32", batch_images=3, shard_bytes=8 * 51200)
    return root
