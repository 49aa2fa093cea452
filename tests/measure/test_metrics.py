from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.data import Batch, Dataset
from hacore.interfaces import Selection
from hacore.measure.metrics import Meter
from hacore.model.network import Output


class Graded(Dataset):
    """Four types, one of which nobody asks; a score between 0 and 1."""

    question_types = ("colour", "shape", "count", "never")
    groups = {"looks": ("colour", "shape"), "nothing": ("never",)}  # noqa: RUF012

    def __init__(self):
        super().__init__(None)

    questions = images = tokenize = None

    def score(self, logits_QA, batch):
        return (logits_QA[:, 0].sigmoid() * (batch.answer_Q >= 0)).float()


Graded.__abstractmethods__ = frozenset()


def a_batch(random, questions, cells, kept):
    batch = Batch(
        images=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        words_QT=torch.ones(questions, 1, dtype=torch.int64),
        lengths_Q=torch.ones(questions, dtype=torch.int64),
        image_index_Q=torch.zeros(questions, dtype=torch.int64),
        answer_Q=torch.from_numpy(random.integers(-1, 2, questions)),
        type_Q=torch.from_numpy(random.integers(0, 3, questions)),
        row_Q=np.arange(questions),
    )
    selection = Selection(
        features_QKC=torch.zeros(questions, kept, 1),
        index_QK=torch.zeros(questions, kept, dtype=torch.int64),
        presence_QN=torch.zeros(questions, cells),
        positions_N2=torch.zeros(cells, 2),
        grid=(1, cells),
        valid_QK=torch.from_numpy(random.random((questions, kept)) < 0.5),
    )
    logits_QA = torch.from_numpy(random.normal(size=(questions, 2)))
    return SimpleNamespace(batch=batch, output=Output(logits_QA, selection), loss=torch.rand(questions))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_the_meter_gives_plain_means(seed, sizes):
    random = np.random.default_rng(seed)
    cells = int(random.integers(1, 12))
    parts = [a_batch(random, size, cells, int(random.integers(1, cells + 1))) for size in sizes]
    dataset = Graded()
    meter = Meter(dataset, torch.device("cpu"))
    meter.add(parts[0].output, parts[0].loss.sum(), parts[0].batch)
    meter.reset()
    for part in parts:
        meter.add(part.output, part.loss.sum(), part.batch)
    scores = meter.read()

    score = np.concatenate([dataset.score(p.output.logits_QA, p.batch).numpy() for p in parts])
    types = np.concatenate([p.batch.type_Q.numpy() for p in parts])
    kept = np.concatenate([p.output.selection.valid_QK.sum(1).numpy() / cells for p in parts])
    loss = np.concatenate([p.loss.numpy() for p in parts])
    assert scores.questions == len(score)
    assert scores.accuracy == pytest.approx(score.mean(dtype=np.float64))
    assert scores.loss == pytest.approx(loss.mean(dtype=np.float64), rel=1e-6)
    assert scores.kept == pytest.approx(kept.mean(), rel=0, abs=1e-7)  # it has seven digits
    names = {name: types == i for i, name in enumerate(dataset.question_types) if (types == i).any()}
    assert scores.by_type.keys() == names.keys()
    for name, mask in names.items():
        assert scores.by_type[name]["questions"] == mask.sum()
        assert scores.by_type[name]["accuracy"] == pytest.approx(score[mask].mean(dtype=np.float64))
    looks = types < 2
    assert scores.by_group.keys() == ({"looks"} if looks.any() else set())
    if looks.any():
        assert scores.by_group["looks"]["questions"] == looks.sum()
        assert scores.by_group["looks"]["accuracy"] == pytest.approx(score[looks].mean(dtype=np.float64))


def test_reading_changes_nothing():
    part = a_batch(np.random.default_rng(0), 6, 4, 2)
    meter = Meter(Graded(), torch.device("cpu"))
    meter.add(part.output, part.loss.sum(), part.batch)
    assert meter.read() == meter.read()
