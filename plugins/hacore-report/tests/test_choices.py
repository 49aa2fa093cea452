"""Tables and plots of trained models with other selectors."""

import json

import pytest
from hacore_report import plot, read_runs

import hacore
from hacore.errors import RunError
from hacore.workflow import evaluate_run


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    """Two seeds of a model with all cells, measured with other selectors."""
    runs = tmp_path_factory.mktemp("runs")
    folders = []
    for seed in (0, 1):
        overrides = [*tiny, "selector={ use = 'all-cells' }", f"seed={seed}", "data.held_out=20", "name=all"]
        spec = hacore.load_spec("experiments/han_sum.toml", overrides)
        folder, _ = hacore.run(spec, runs=runs, device="cpu", report=False)
        trained = hacore.load(folder, device="cpu")
        for options in ({"use": "l2-topk", "k": 2}, {"use": "l2-topk", "k": 5}, {"use": "oracle-k", "k": 2}):
            evaluate_run(trained.with_selector(**options))
        folders.append(folder)
    return folders


def test_a_table_has_a_row_for_each_choice(folders, cli):
    paths = [folder.path for folder in folders]
    arguments = ("--rows", "selector.use", "--rows", "selector.k", "--value", "accuracy", "--value", "kept")
    told = json.loads(cli("table", *paths, "--choices", *arguments, "--json").out)
    cells = {(*cell["row"].values(), cell["value"]): cell for cell in told["cells"]}
    assert {key[:2] for key in cells} == {
        ("all-cells", None),
        ("l2-topk", 2),
        ("l2-topk", 5),
        ("oracle-k", 2),
    }
    for k in (2, 5):
        assert cells["l2-topk", k, "kept"]["mean"] == pytest.approx(k / 25)
        cell = cells["l2-topk", k, "accuracy"]
        assert cell["seeds"] == [0, 1]
        assert cell["remarks"] == ["chosen after training"]
        scores = []
        for file in cell["runs"]:
            with open(file) as lines:
                scores += [json.loads(line)["score"] for line in lines]
        assert cell["mean"] == pytest.approx(sum(scores) / len(scores))
    assert cells["all-cells", None, "accuracy"]["remarks"] == []
    assert cells["oracle-k", 2, "accuracy"]["remarks"] == ["oracle", "chosen after training"]
    assert cells["oracle-k", 2, "accuracy"]["mark"] is None
    assert "best" in {cell["mark"] for cell in told["cells"]}
    assert any("trained.selector.use" in note for note in told["notes"])


def test_without_the_option_there_is_only_the_run(folders, cli):
    told = json.loads(cli("table", folders[0].path, "--rows", "selector.use", "--json").out)
    assert [cell["row"]["selector.use"] for cell in told["cells"]] == ["all-cells"]


def test_conditions_and_plots_know_the_choice(folders, tmp_path):
    runs = read_runs([folder.path for folder in folders], choices=True)
    chosen = runs.where([("trained.selector.use", "all-cells"), ("selector.k", 5)])
    assert {(run.get("selector.use"), run.seed) for run in chosen.runs} == {("l2-topk", 0), ("l2-topk", 1)}
    plot(runs, tmp_path / "a.svg", only_value=True)
    assert b"l2-topk" in (tmp_path / "a.svg").read_bytes()


def test_a_damaged_record_is_named(folders, tmp_path, cli, names):
    (file,) = [
        path
        for path in folders[0].path.glob("predictions/test--*.json")
        if json.loads(path.read_text())["selector"] == {"use": "l2-topk", "k": 2}
    ]
    text = file.read_text()
    try:
        file.write_text(text[:-20])
        with pytest.raises(RunError, match="hacore eval") as error:
            read_runs([folders[0].path], choices=True)
        names(str(error.value), str(file))
    finally:
        file.write_text(text)
