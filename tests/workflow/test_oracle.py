"""A component that is told which objects a question is about, from the data to the page."""

import json
import re

import numpy as np
import pytest
import torch

import hacore
from hacore.data import make_batch
from hacore.errors import HacoreError
from hacore.interfaces import Question
from hacore.measure.predict import evaluating, predict
from hacore.objects import relevant_cells
from hacore.train import trainer

DECLARED = """
import attrs
from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    k: int = option(4, "cells to keep", min=1, live=True)


@hookimpl
def hacore_declare():
    return [Component(kind="selector", name="told", target="told_selector:Told", config=Config,
                      summary="keeps relevant cells first")]
"""
SELECTOR = """
from hacore.interfaces import Selection, Selector
from hacore.selection import gather_cells, l2_presence, strongest_first


class Told(Selector):
    oracle = True

    def forward(self, cells, question):
        presence_QN = l2_presence(cells.features)
        presence_QN = presence_QN + 1e6 * question.relevant_QN
        index_QK = strongest_first(presence_QN)[:, : self.config.k]
        return Selection(
            features_QKC=gather_cells(cells.features, index_QK),
            index_QK=index_QK,
            presence_QN=presence_QN,
            positions_N2=cells.positions,
            grid=cells.grid,
        )
"""


@pytest.fixture
def oracle(install):
    """A selector of a plugin that looks at the relevant cells."""
    install("told_plugin", DECLARED, told_selector=SELECTOR)


@pytest.fixture
def spec(oracle, tiny):
    overrides = [
        *tiny,
        "selector={ use = 'told', k = 6 }",
        "name=told",
        "train.shift=5",
        "train.rotation=0.2",
    ]
    return hacore.load_spec("experiments/han_sum.toml", overrides)


@pytest.fixture
def run(spec, tmp_path):
    return hacore.run(spec, runs=tmp_path / "runs", device="cpu")


def test_the_cells_it_keeps_lie_on_what_is_asked_about(run, cli):
    folder, result = run
    trained = hacore.load(folder, device="cpu")
    dataset, grid = trained.dataset, trained.model.grid
    questions, objects = dataset.questions("test"), dataset.objects("test")
    relevant_QN = relevant_cells(
        torch.from_numpy(objects.boxes_IO4),
        torch.from_numpy(objects.relevant_QO),
        torch.from_numpy(questions.image),
        grid,
    ).numpy()
    for line in map(json.loads, folder.predictions_file("test").read_text().splitlines()):
        relevant = set(np.flatnonzero(relevant_QN[line["id"]]))
        kept = set(line["cells"])
        assert kept <= relevant or relevant <= kept
    assert result["oracle"] is True


def test_results_say_so(run, cli):
    folder, _ = run
    assert json.loads(folder.result_file.read_text())["oracle"] is True
    assert "An oracle" in folder.report_file.read_text()
    assert "told: an oracle" in cli("table", folder.path).err
    page = folder.path / "both.html"
    assert cli("report", folder.path, folder.path, "--output", page, "--device", "cpu").status == 0
    assert "(oracle)" in page.read_text()


def test_other_runs_say_that_they_were_not_told(tiny, tmp_path):
    spec = hacore.load_spec("experiments/han_sum.toml", tiny)
    folder, result = hacore.run(spec, runs=tmp_path, device="cpu")
    assert result["oracle"] is False
    assert "An oracle" not in folder.report_file.read_text()


def test_training_tells_it_the_moved_cells(spec, tmp_path, monkeypatch):
    """The relevant cells follow the pixels of the objects through shifts and rotations."""
    augmented = []
    moved = trainer.augment

    def augment(batch, shift, rotation):
        batch = moved(batch, shift, rotation)
        augmented.append(batch)
        return batch

    monkeypatch.setattr(trainer, "augment", augment)
    hacore.run(spec, runs=tmp_path / "runs", device="cpu", report=False)
    for batch in augmented:
        relevant_QN = batch.relevant_QN((75, 75)).reshape(-1, 75, 75)
        # Where the background is white, what is coloured is an object.
        coloured_IHW = batch.images.amin(1) < 0.75
        for question, image in enumerate(batch.image_index_Q.tolist()):
            inside = relevant_QN[question]
            middle = torch.nn.functional.max_pool2d((~inside)[None].float(), 5, 1, 2)[0] == 0
            # The middles of the boxes of objects are coloured.
            assert coloured_IHW[image][middle].float().mean() > 0.8


def test_asking_about_any_image_is_refused_with_the_reason(run):
    folder, _ = run
    trained = hacore.load(folder, device="cpu")
    with pytest.raises(HacoreError, match="oracle"):
        trained.ask(np.zeros((75, 75, 3), np.uint8), "is the red object on the left?")


def test_data_that_do_not_know_are_refused(spec, monkeypatch):
    from hacore_sort_of_clevr.dataset import SortOfClevr

    from hacore.data import Dataset

    monkeypatch.setattr(SortOfClevr, "objects", Dataset.objects)
    with pytest.raises(HacoreError, match=r"dataset 'sort-of-clevr'.*selector 'told'"):
        hacore.check(spec)


def test_nobody_else_is_told(tiny, monkeypatch):
    spec = hacore.load_spec("experiments/han_sum.toml", tiny)
    dataset = hacore.open_dataset(spec.data)
    model = hacore.compose(spec, dataset.sizes())
    batch = make_batch(dataset.questions("val"), dataset.images("val"), np.arange(8))
    questions = []
    monkeypatch.setattr(model.selector, "forward", lambda cells, question: questions.append(question))
    with evaluating(model), pytest.raises(AttributeError):
        predict(model, batch)
    (question,) = questions
    assert isinstance(question, Question)
    assert question.relevant_QN is None
    assert question.image_id_Q.tolist() == dataset.questions("val").image[:8].tolist()
    assert question.lengths_Q.tolist() == batch.lengths_Q.tolist()
    assert question.words_QT.tolist() == batch.words_QT.tolist()
    assert re.fullmatch(r"\(8, \d+, \d+\)", str(tuple(question.words_QTC.shape)))


def test_a_spec_with_an_oracle_can_be_checked(oracle, tiny):
    spec = hacore.load_spec("experiments/han_sum.toml", [*tiny, "selector={ use = 'told', k = 6 }"])
    (stage,) = [stage for stage in hacore.check(spec).stages if stage.stage == "selector"]
    assert stage.output.startswith("6x")
