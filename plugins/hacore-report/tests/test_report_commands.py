"""``hacore table`` and ``hacore plot`` on the runs of a small sweep."""

import csv
import io
import json

import pytest
from hacore_report.table_command import condition

from hacore.runs import RunFolder
from hacore.spec import load_spec
from hacore.workflow import run


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """A folder of runs with two numbers of cells and two seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    spec = request.config.rootpath / "experiments" / "han_rn.toml"
    small = (
        *("data.images=40", "data.held_out=5", "data.validation=5", "train.steps=2", "train.threads=1"),
        *("image_encoder.channels=[4, 8]", "image_encoder.strides=[4]", "eval.baseline_steps=2"),
    )
    for k in (3, 9):
        for seed in (0, 1):
            run(load_spec(spec, [*small, f"selector.k={k}", f"seed={seed}"]), runs=folder, device="cpu")
    return folder / "han_rn"


def results(runs, k):
    folders = [RunFolder(path) for path in sorted(runs.iterdir())]
    return [folder.result() for folder in folders if folder.spec().selector.options.k == k]


def test_a_table_of_real_runs(cli, runs):
    ran = cli(
        "table", runs, "--rows", "selector.k", "--value", "relational", "--value", "multiply_adds", "--json"
    )
    assert ran.err == ""
    cells = {(cell["row"]["selector.k"], cell["value"]): cell for cell in json.loads(ran.out)["cells"]}
    for k in (3, 9):
        first, second = results(runs, k)
        one, two = (result.by_group["relational"].accuracy for result in (first, second))
        assert cells[k, "relational"]["mean"] == pytest.approx((one + two) / 2)
        assert cells[k, "relational"]["deviation"] == pytest.approx(abs(one - two) / 2**0.5)
        assert cells[k, "multiply_adds"]["mean"] == first.multiply_adds
    assert cells[3, "multiply_adds"]["mean"] < cells[9, "multiply_adds"]["mean"]


def test_the_default_is_a_row_for_each_experiment(cli, runs):
    ran = cli("table", runs)
    assert ran.out.splitlines()[0] == "accuracy (%) on test; mean ± sample standard deviation of 2 runs"
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == [
        "selector.k",
        "3",
        "9",
        "majority",
        "question",
        "*",
    ]
    ran = cli("table", runs, "--no-marks")
    assert "*" not in ran.out
    ran = cli("table", runs, "--format", "csv", "--value", "kept", "--where", "selector.k=9")
    (row,) = csv.DictReader(io.StringIO(ran.out))
    assert float(row["kept mean"]) == pytest.approx(9 / 25)


def test_notes_and_errors_go_to_standard_error(cli, names, runs, tmp_path):
    ran = cli("table", runs, "--columns", "selector.use", "--rows", "name", "--over", "selector.k")
    assert ran.err == "note: means are over seeds and over selector.k\n"
    message = cli("table", runs, "--rows", "name").error
    names(message, "name = han_rn", "more than the seed", "selector.k: 3, 9", "--rows selector.k")
    names(cli("table", tmp_path).error, f"{tmp_path}:", "neither a run folder", "sweep")
    assert cli("table").status == 2


def test_a_plot(cli, runs, tmp_path):
    ran = cli("plot", runs, "--output", tmp_path / "a.svg", "--time", "questions_per_second")
    assert ran.out == f"wrote {tmp_path / 'a.svg'}: 4 runs\n"
    assert ran.err == "note: points of a line differ in selector.k\n"
    assert (tmp_path / "a.svg").stat().st_size > 1000
    ran = cli("plot", runs, "--output", tmp_path / "a.png", "--where", "selector.k=3", "--json")
    assert json.loads(ran.out) == {"output": str(tmp_path / "a.png"), "runs": 2, "notes": []}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("a.b=3", 3),
        ("a.b = rn", "rn"),
        ("a.b='3'", "3"),
        ("a.b=true", True),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=none", None),
    ],
)
def test_conditions_are_written_as_with_set(words, value):
    assert condition(words) == ("a.b", value)


def test_a_condition_without_a_value_is_wrong_usage(cli, names, runs):
    ran = cli("table", runs, "--where", "selector.k")
    assert ran.status == 2
    names(ran.err.splitlines()[-1], "--where selector.k:", "key=value", "--where selector.k=8")
