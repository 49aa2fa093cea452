"""Runs that were trained in different precisions are told apart wherever they are shown together."""

import json

import pytest
from hacore_report import plot, read_runs, tabulate
from hacore_report._plot import _lines
from hacore_report._values import value_named

from hacore.errors import HacoreError

CPU, GPU = "a CPU, 2 cores", "NVIDIA A100"
QUESTIONS = [(image, "shape", image % 2) for image in range(30)]


@pytest.fixture
def run(write_run, write_scores):
    """run("selector.k=4", precision="bfloat16"): a run folder with predictions; else as write_run."""

    def make(*overrides, precision=None, device=CPU, **others):
        path = write_run(*overrides, training__precision=precision, training__device=device, **others)
        write_scores(path, QUESTIONS)
        return path

    return make


def precision_of(path):
    return read_runs([path]).runs[0].get("training.precision")


@pytest.mark.parametrize(
    ("recorded", "chosen", "device", "expected"),
    [
        ("bfloat16", "auto", CPU, "bfloat16"),
        ("float32", "auto", GPU, "float32"),
        # Of earlier versions, whose records have none.
        (None, "float32", GPU, "float32"),
        (None, "bfloat16", CPU, "bfloat16"),
        (None, "auto", CPU, "float32"),
        (None, "auto", GPU, "bfloat16"),
        (None, "auto", None, None),
        (None, "float32", None, "float32"),
    ],
)
def test_the_precision_of_a_run(run, recorded, chosen, device, expected):
    assert precision_of(run(f"train.precision={chosen}", precision=recorded, device=device)) == expected


def test_a_run_without_a_record_of_its_training(run):
    path = run()
    result = json.loads((path / "result.json").read_text())
    del result["training"]
    (path / "result.json").write_text(json.dumps(result))
    assert precision_of(path) is None


def test_a_table_marks_rows_and_counts_runs(cli, run, names):
    paths = [run("selector.k=4"), run("selector.k=9", precision="bfloat16")]
    paths += [run("selector.k=9", seed=1, precision="float32"), run("selector.k=5", device=None)]
    ran = cli("table", *paths, "--rows", "selector.k")
    rows = [line for line in ran.out.splitlines() if line[:1].isdigit()]
    names(rows[0], "4", "(float32)")
    names(rows[1], "5", "(precision not recorded)")
    names(rows[2], "9", "(bfloat16 and float32)")
    (note,) = [line for line in ran.err.splitlines() if "precision" in line]
    names(note, "note:", "bfloat16 (1 run)", "float32 (2 runs)", "not recorded (1 run)", "train.precision")
    told = json.loads(cli("table", *paths, "--rows", "selector.k", "--json").out)
    assert {cell["row"]["selector.k"]: cell["remarks"] for cell in told["cells"]}[4] == ["float32"]
    assert any("precision" in note for note in told["notes"])


def test_of_one_precision_nothing_is_said(cli, run):
    """What is not known is not another one."""
    paths = [run("selector.k=4"), run("selector.k=5", precision="float32"), run("selector.k=6", device=None)]
    ran = cli("table", *paths, "--rows", "selector.k", "--no-marks")
    assert ran.err == ""
    assert "float32" not in ran.out


def test_only_the_runs_of_the_table_count(run):
    runs = read_runs([run("selector.k=4"), run("selector.k=9", precision="bfloat16")])
    table = tabulate(runs.where([("selector.k", 9)]))
    assert table.notes == ()
    assert list(table.remarks.values()) == [()]


def test_precision_as_a_row_needs_no_remark(run):
    runs = read_runs([run("selector.k=4"), run("selector.k=9", precision="bfloat16")])
    table = tabulate(runs, rows=["training.precision"], over=["selector.k"])
    assert set(table.rows) == {("float32",), ("bfloat16",)}
    assert not [note for note in table.notes if "different precisions" in note]
    assert set(table.remarks.values()) == {()}


def test_times_of_different_precisions_are_not_averaged(run):
    runs = read_runs([run(), run(seed=1, precision="bfloat16")])
    assert tabulate(runs, rows=["selector.k"]).rows == ((10,),)
    with pytest.raises(HacoreError, match=r"training\.precision: float32, bfloat16;"):
        tabulate(runs, rows=["selector.k"], values=["seconds"])


def test_compare_names_them(cli, run, names):
    ours, theirs = run("selector.k=4", "name=a"), run("selector.k=9", "name=b", precision="bfloat16")
    ran = cli("compare", ours, "--against", theirs)
    assert ran.status == 0, ran.err
    names(ran.out.splitlines()[-1], "a (float32)", "b (bfloat16)")
    assert "different precisions" in ran.err
    same = cli("compare", ours, "--against", run("selector.k=5", "name=c", precision="float32"))
    assert "float32" not in same.out + same.err


def test_a_plot_names_them_in_the_legend(run, names, tmp_path):
    paths = [run("selector.k=4"), run("selector.k=9", seed=1, precision="bfloat16")]
    paths.append(run("selector={use='all-cells'}", precision="bfloat16"))
    runs = read_runs(paths)
    notes = plot(runs, tmp_path / "picture.svg")
    names(next(note for note in notes if "precisions" in note), "bfloat16 (2 runs)", "float32 (1 run)")
    lines = _lines(runs.runs, ["selector.use"], [value_named("accuracy", runs.runs)])
    assert set(lines) == {"l2-topk (bfloat16 and float32)", "all-cells (bfloat16)"}
    assert len(lines["l2-topk (bfloat16 and float32)"]) == 2
