"""A component that follows a schedule, and a selector that drops cells only in evaluation."""

import json

import pytest

import hacore
from hacore.runs import RunFolder

DECLARED = """
import attrs
from hacore.plugin import Component, hookimpl

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    pass


@hookimpl
def hacore_declare():
    return [Component(kind="selector", name="scheduled", target="scheduled_selector:Scheduled", config=Config,
                      summary="all cells in training, the strongest in evaluation")]
"""
SELECTOR = """
from hacore.interfaces import Selection, Selector
from hacore.selection import gather_cells, l2_presence, strongest_first

SHARES = []


class Scheduled(Selector):
    dense_training = True

    def set_progress(self, share):
        SHARES.append(share)

    def forward(self, cells, question):
        presence_QN = l2_presence(cells.features)
        index_QK = strongest_first(presence_QN)[:, : None if self.training else 1]
        return Selection(
            features_QKC=gather_cells(cells.features, index_QK),
            index_QK=index_QK,
            presence_QN=presence_QN,
            positions_N2=cells.positions,
            grid=cells.grid,
        )
"""


@pytest.fixture
def run(install, tiny, tmp_path):
    """Runs the spec, whole or from a run folder on, and gives the folder and the shares of its steps."""
    install("scheduled_plugin", DECLARED, scheduled_selector=SELECTOR)

    def run(resume=None):
        from scheduled_selector import SHARES

        SHARES.clear()
        overrides = [*tiny, "train.steps=4", "selector={ use = 'scheduled' }", "name=scheduled"]
        spec = hacore.load_spec("experiments/han_sum.toml", overrides)
        folder, _ = hacore.run(spec, runs=tmp_path / "runs", device="cpu", resume=resume)
        return folder, list(SHARES)

    return run


def test_components_are_told_how_much_of_the_training_is_done(run):
    _, shares = run()
    assert shares == [0, 1 / 4, 2 / 4, 3 / 4]


def test_results_and_tables_say_that_training_saw_all_cells(run, cli):
    folder, _ = run()
    result = json.loads(folder.result_file.read_text())
    assert result["dense_training"] is True
    assert result["kept"] == pytest.approx(1 / 25)
    assert "scheduled: sees all cells in training" in cli("table", folder.path).err
    for line in folder.metrics_file.read_text().splitlines():
        if "lr" in json.loads(line):
            assert json.loads(line)["kept"] == 1


def test_results_of_other_selectors_do_not_say_so(tiny, tmp_path, cli):
    spec = hacore.load_spec("experiments/han_sum.toml", tiny)
    folder, result = hacore.run(spec, runs=tmp_path / "runs", device="cpu")
    assert result.dense_training is False
    assert isinstance(folder, RunFolder)
    assert "in training" not in cli("table", folder.path).err
