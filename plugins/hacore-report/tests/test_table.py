"""Which runs a table is made of, what it averages, and what it refuses to average."""

import json
import math

import pytest
from hacore_report import read_runs, tabulate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hacore.errors import HacoreError, RunError


def cell(table, row, column=(), value="accuracy"):
    return table.cells[tuple(row), tuple(column), value]


def test_means_and_deviations_over_seeds(write_run):
    paths = [
        write_run(f"selector.k={k}", f"aggregator.use={use}", seed=seed, accuracy=accuracy)
        for k, use, accuracies in [
            (10, "rn", (0.5, 0.75, 1.0)),
            (4, "rn", (0.25, 0.25, 0.25)),
            (4, "sum-pool", (0.125, 0.375, 0.625)),
        ]
        for seed, accuracy in enumerate(accuracies)
    ]
    table = tabulate(read_runs(paths), rows=["selector.k"], columns=["aggregator.use"])
    assert table.rows == ((4,), (10,))
    assert table.columns == (("rn",), ("sum-pool",))
    assert cell(table, [10], ["rn"]).mean == 0.75
    assert cell(table, [10], ["rn"]).deviation == pytest.approx(0.25)
    assert cell(table, [4], ["rn"]).deviation == 0
    assert cell(table, [4], ["sum-pool"]).mean == 0.375
    assert cell(table, [4], ["sum-pool"]).seeds == (0, 1, 2)
    assert cell(table, [4], ["sum-pool"]).runs == tuple(map(str, paths[6:]))
    assert ((10,), ("sum-pool",), "accuracy") not in table.cells
    assert table.notes == ()
    assert table.baselines["majority", ("rn",), "accuracy"].mean == 0.375


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_against_the_plain_formulas(write_run, tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("runs")
    for seed, number in enumerate(numbers):
        write_run(seed=seed, accuracy=number, folder=folder / str(seed))
    summary = cell(tabulate(read_runs([folder]), rows=["selector.use"]), ["l2-topk"])
    mean = sum(numbers) / len(numbers)
    assert summary.mean == pytest.approx(mean, abs=1e-12)
    if len(numbers) == 1:
        assert summary.deviation is None
    else:
        variance = sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)
        assert summary.deviation == pytest.approx(math.sqrt(variance), abs=1e-9)


def test_values_by_their_short_names(write_run):
    runs = read_runs([write_run()])
    names = ["relational", "shape", "kept", "seconds", "questions_per_second", "multiply_adds", "majority"]
    names += ["checkpoint.val_accuracy", "train.lr"]
    table = tabulate(runs, rows=["name"], values=names)
    assert [value.key for value in table.values] == [
        "by_group.relational.accuracy",
        "by_type.shape.accuracy",
        "kept",
        "training.seconds",
        "training.questions_per_second",
        "multiply_adds",
        "baselines.majority.accuracy",
        "checkpoint.val_accuracy",
        "train.lr",
    ]
    means = [cell(table, ["made"], value=name).mean for name in names]
    assert means == [0.75, 0.25, 0.1, 100, 4000, 2e6, 0.375, 0.625, 1e-3]
    assert {key[2]: baseline.mean for key, baseline in table.baselines.items()} == {
        "relational": 0.4,
        "shape": 0.5,
    }


def test_rows_are_by_default_what_tells_the_runs_apart(write_run):
    paths = [
        write_run('selector={use="l2-topk", k=4}', "train.lr=0.1"),
        write_run('selector={use="l2-topk", k=8}', "train.lr=0.1"),
        write_run('selector={use="all-cells"}', "train.lr=0.2"),
    ]
    table = tabulate(read_runs(paths))
    # The learning rate goes along with the selector; that is said.
    assert table.row_keys == ("selector.use", "selector.k")
    assert table.rows == (("l2-topk", 4), ("l2-topk", 8), ("all-cells", None))
    assert table.notes == ("between cells the runs also differ in train.lr: 0.1, 0.2",)
    assert tabulate(read_runs(paths[:1])).row_keys == ("name",)


def test_runs_that_differ_in_anything_else_are_not_averaged(write_run, names):
    paths = [
        write_run("train.epochs=10"),
        write_run("train.epochs=12", seed=1),
        write_run("train.epochs=12", "fuser.layers=2", seed=2, data__fingerprint="other"),
    ]
    runs = read_runs(paths)
    with pytest.raises(HacoreError) as error:
        tabulate(runs, rows=["selector.k"])
    message = str(error.value)
    names(message, "selector.k = 10", "more than the seed", "fuser.layers: 1, 2", "train.epochs: 10.0, 12.0")
    names(message, "data.fingerprint: f, other", "--rows fuser.layers", "--where fuser.layers=")
    names(message, "--over fuser.layers")
    with pytest.raises(HacoreError, match=r"more than the seed: train\.epochs: 10\.0, 12\.0;"):
        tabulate(runs.where([("fuser.layers", 1)]), rows=["selector.k"])
    assert len(cell(tabulate(runs.where([("train.epochs", 12), ("fuser.layers", 1)])), ["made"]).runs) == 1
    every = ["train.epochs", "fuser.layers", "data.fingerprint"]
    table = tabulate(runs, rows=["selector.k"], over=every)
    assert len(cell(table, [10]).runs) == 3
    assert table.notes == (f"means are over seeds and over {', '.join(every)}",)


def test_baselines_are_means_over_seeds_and_never_over_data(write_run):
    def run(k, seed, only, **more):
        baseline = {"accuracy": only, "by_type": {}, "by_group": {}}
        return write_run(f"selector.k={k}", seed=seed, baselines__question_only=baseline, **more)

    paths = [run(4, 0, 0.25), run(8, 0, 0.5), run(4, 1, 0.5), run(8, 1, 0.75)]
    summary = tabulate(read_runs(paths), rows=["selector.k"]).baselines["question_only", (), "accuracy"]
    assert summary.mean == 0.5
    assert summary.deviation == pytest.approx(0.25 / 2**0.5)
    assert summary.seeds == (0, 1)
    assert len(summary.runs) == 4
    one = tabulate(read_runs(paths[:2]), rows=["selector.k"]).baselines["question_only", (), "accuracy"]
    assert (one.mean, one.deviation) == (0.375, None)
    other = run(16, 0, 0.5, data__fingerprint="other")
    assert tabulate(read_runs([*paths, other]), rows=["selector.k"]).baselines == {}


def test_options_of_a_component_follow_from_the_component(write_run):
    paths = [write_run(f"aggregator.use={use}") for use in ("rn", "sum-pool")]
    with pytest.raises(HacoreError, match=r"aggregator\.use: rn, sum-pool;"):
        tabulate(read_runs(paths), rows=["selector.k"])
    assert tabulate(read_runs(paths), rows=["aggregator.use"]).notes == ()
    assert len(cell(tabulate(read_runs(paths), rows=["selector.k"], over=["aggregator.use"]), [10]).runs) == 2


def test_times_of_different_machines_are_not_averaged(write_run):
    paths = [
        write_run(),
        write_run(seed=1, training__device="another, 8 cores"),
        write_run("selector.k=4", training__threads=2),
    ]
    assert tabulate(read_runs(paths), rows=["selector.k"]).notes == ()
    with pytest.raises(HacoreError, match=r"training\.device: a CPU, 2 cores, another, 8 cores;"):
        tabulate(read_runs(paths), rows=["selector.k"], values=["seconds"])
    table = tabulate(read_runs([paths[0], paths[2]]), rows=["selector.k"], values=["seconds"])
    assert table.notes == ("between cells the runs also differ in training.threads: 1, 2",)


def test_rows_are_in_order_of_size_then_of_appearance(write_run):
    paths = [
        write_run("train.steps=20", "image_encoder.channels=[8, 4]"),
        write_run("train.steps=3", "image_encoder.channels=[4, 8]"),
        write_run("image_encoder.channels=[4, 8]"),
        write_run("train.steps=3", "image_encoder.channels=[8, 4]"),
    ]
    table = tabulate(read_runs(paths), rows=["train.steps", "image_encoder.channels"])
    assert table.rows == ((3, "[8, 4]"), (3, "[4, 8]"), (20, "[8, 4]"), (None, "[4, 8]"))


def test_what_is_unfinished_or_there_twice_is_noted(write_run, tmp_path):
    old, new = write_run(accuracy=0.25), write_run(accuracy=0.75)
    unfinished = write_run(seed=1)
    (unfinished / "result.json").unlink()
    runs = read_runs([old, new, new, unfinished])
    assert [run.path for run in runs.runs] == [new]
    assert runs.notes == (
        f"{unfinished}: has no result yet and is left out",
        f"{old}: the same spec, seed and data as {new}, and left out",
    )
    # Another name is no other experiment; other data is.
    assert len(read_runs([old, write_run("name=other")]).runs) == 1
    assert len(read_runs([old, write_run(data__fingerprint="other")]).runs) == 2
    with pytest.raises(HacoreError, match=r"has no result yet and is left out\nno finished run; give run"):
        read_runs([unfinished])


def test_folders_that_hold_runs_and_sweeps(write_run, tmp_path):
    folder = write_run().parent
    write_run("selector.k=4")
    assert len(read_runs([folder]).runs) == 2
    assert len(read_runs([folder.parent]).runs) == 2
    sweep = tmp_path / "sweep"
    write_run("selector.k=5", folder=sweep / "runs" / "a" / "1")
    write_run("selector.k=6", folder=sweep / "runs" / "orphan" / "1")
    entries = [{"name": "a", "run": "runs/a/1"}, {"name": "b", "run": None}]
    (sweep / "sweep.json").write_text(json.dumps({"runs": entries}))
    runs = read_runs([sweep])
    assert [run.get("selector.k") for run in runs.runs] == [5]
    assert runs.notes == (f"{sweep}: 1 of 2 runs have not begun, the first b",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty: .*neither a run folder.*spec\.toml.*nor a sweep"):
        read_runs([tmp_path / "empty"])
    with pytest.raises(RunError, match=r"none: no such folder.*'hacore runs'"):
        read_runs([tmp_path / "none"])


def test_names_that_no_run_has(write_run, names):
    runs = read_runs([write_run()])
    for asked, parts in [
        ({"rows": ["selector.kk"]}, ["'selector.kk'", "'selector.k'"]),
        ({"rows": ["selector.k"], "columns": ["selector.k"]}, ["'selector.k'", "both rows and columns"]),
        ({"values": ["accurac"]}, ["'accurac'", "'accuracy'"]),
        ({"values": ["selector.use"]}, ["selector.use:", "'l2-topk'"]),
    ]:
        with pytest.raises(HacoreError) as error:
            tabulate(runs, **asked)
        names(str(error.value), *parts)
    with pytest.raises(HacoreError, match=r"selector\.k = 3.*selector\.k has 10"):
        runs.where([("selector.k", 3)])


def test_a_name_of_a_group_and_a_type_must_be_told_apart(write_run):
    runs = read_runs([write_run(by_group__shape={"accuracy": 0.5, "questions": 3})])
    with pytest.raises(HacoreError, match=r"may be by_group\.shape\.accuracy or by_type\.shape\.accuracy"):
        tabulate(runs, values=["shape"])


def test_runs_without_public_answers_have_no_accuracy(write_run):
    runs = read_runs([write_run(accuracy=None, baselines={}), write_run("selector.k=4")])
    table = tabulate(runs, rows=["selector.k"])
    assert ((10,), (), "accuracy") not in table.cells
    assert cell(table, [4]).mean == 0.5


def test_damaged_folders_are_named(write_run):
    path = write_run()
    (path / "result.json").write_text("{")
    with pytest.raises(RunError, match=r"result\.json: cannot be read as JSON"):
        read_runs([path])
    (path / "result.json").write_text("{}")
    (path / "spec.toml").write_text("name =")
    with pytest.raises(HacoreError, match=r"spec\.toml: is not valid TOML: "):
        read_runs([path])
