"""What experiments are called where several are shown."""

import pytest
from hacore_report import read_runs
from hacore_report._table import experiment_names


@pytest.fixture
def named(write_run):
    """named(["selector.k=4", ...], ...): the names of runs with these overrides, without their seeds."""

    def run(*overrides, seeds=False):
        paths = [write_run(*each) for each in overrides]
        return experiment_names(read_runs(paths).runs, seeds=seeds)

    return run


def test_names_of_specs_are_kept_where_they_differ(named):
    assert named(["name=han_rn"], ["name=san", "selector.k=3"]) == ["han_rn", "san"]


def test_what_all_names_share_is_left_out(named):
    names = ["name=cells-k4-rn-seed0", "selector.k=4"], ["name=cells-k16-rn-seed0", "selector.k=16"]
    assert named(*names) == named(*names, seeds=True) == ["k4", "k16"]


def test_what_differs_is_shorter_than_long_names(named):
    names = (
        ["name=table1-sum-pool-l2-topk-k10", "selector.k=10"],
        [
            "name=table2-sum-pool-soft-attention",
            'selector={ use = "soft-attention" }',
        ],
    )
    assert named(*names) == ["l2-topk", "soft-attention"]


def test_a_number_is_not_cut(named):
    assert named(["name=a-lr1e-04"], ["name=a-lr1e-05", "train.lr=1e-5"]) == ["lr1e-04", "lr1e-05"]


def test_of_one_name_what_differs_is_the_name(named):
    assert named(["selector.k=4"], ["selector.k=8"]) == ["k = 4", "k = 8"]
    soft = 'selector={ use = "soft-attention" }'
    assert named(["selector.k=4"], [soft]) == ["l2-topk", "soft-attention"]


def test_keys_are_whole_where_their_ends_are_the_same(named):
    one, other = (
        ["aggregator.layers=1", "question_encoder.layers=1"],
        ["aggregator.layers=1", "question_encoder.layers=2"],
    )
    third = ["aggregator.layers=2", "question_encoder.layers=2"]
    assert named(one, other, third) == [
        "question_encoder.layers = 1, aggregator.layers = 1",
        "question_encoder.layers = 2, aggregator.layers = 1",
        "question_encoder.layers = 2, aggregator.layers = 2",
    ]


def test_some_of_one_name(named):
    names = named(["name=a", "selector.k=4"], ["name=a", "selector.k=8"], ["name=b", "selector.k=2"])
    assert names == ["a (k = 4)", "a (k = 8)", "b"]
