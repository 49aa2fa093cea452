"""What is marked as the best of a column, and as not different from it."""

import csv
import io
import json
import random
import re

import pytest

GROUPS = {"looks": ["shape"], "both": ["shape", "count"]}


def scores(seed, right, images=60, questions=4):
    """Of questions of two types, answered right with this chance."""
    draws = random.Random(seed)
    return [
        (image, ("shape", "count")[number % 2], float(draws.random() < right))
        for image in range(images)
        for number in range(questions)
    ]


@pytest.fixture
def write_sweep(write_run, write_scores):
    """write_sweep({k: chance of a right answer}, seeds) writes runs, whose accuracies are their scores'."""

    def make(chances, seeds=(0,), **results):
        paths = []
        for k, right in chances.items():
            for seed in seeds:
                asked = scores(1000 * k + seed, right)
                count = [score for _, name, score in asked if name == "count"]
                path = write_run(
                    f"selector.k={k}",
                    seed=seed,
                    groups=GROUPS,
                    accuracy=sum(score for *_, score in asked) / len(asked),
                    by_type__count={"accuracy": sum(count) / len(count), "questions": len(count)},
                    by_group__both={"accuracy": 0.5, "questions": len(asked)},
                    **results,
                )
                write_scores(path, asked)
                paths.append(path)
        return paths

    return make


def marks(cli, *arguments):
    """{(k, value): mark} of a table, its legend and its notes."""
    told = json.loads(cli("table", *arguments, "--rows", "selector.k", "--json").out)
    cells = {(cell["row"]["selector.k"], cell["value"]): cell["mark"] for cell in told["cells"]}
    return cells, told["legend"], told["notes"]


def test_the_best_and_what_does_not_differ_from_it(cli, write_sweep):
    paths = write_sweep({4: 0.5, 5: 0.79, 6: 0.8, 7: 0.95}, seeds=(0, 1, 2))
    without = [path for path in paths if "k = 7" not in (path / "spec.toml").read_text()]
    cells, legend, notes = marks(cli, *without)
    values = {cells[5, "accuracy"], cells[6, "accuracy"]}
    assert values == {"best", "not different"}
    assert cells[4, "accuracy"] is None
    assert "images and seeds" in legend
    assert notes == []
    cells, *_ = marks(cli, *paths)
    assert cells == {(4, "accuracy"): None, (5, "accuracy"): None, (6, "accuracy"): None} | {
        (7, "accuracy"): "best"
    }


@pytest.mark.parametrize(("seeds", "least", "most"), [((0,), 0.52, 0.7), ((0, 1, 2), 0.52, 0.65)])
def test_a_mark_agrees_with_the_comparison(cli, write_sweep, seeds, least, most):
    """Seeds, which are paired, move both alike."""
    agreed = set()
    for number, better in enumerate((least, (least + most) / 2, most)):
        paths = {
            k: [path for seed in seeds for path in write_sweep({k: right + 0.1 * seed}, seeds=(seed,))]
            for k, right in ((10 + number, 0.5), (20 + number, better))
        }
        ours, theirs = paths[20 + number], paths[10 + number]
        cells, *_ = marks(cli, *ours, *theirs)
        told = json.loads(cli("compare", *ours, "--against", *theirs, "--json").out)
        worse = next(mark for mark in cells.values() if mark != "best")
        assert worse == ("not different" if told["low"] <= 0 <= told["high"] else None)
        agreed.add(worse)
    assert agreed == {"not different", None}


def test_types_and_groups_are_marked_on_their_questions_alone(cli, write_run, write_scores):
    one, other = write_run("selector.k=4", groups=GROUPS), write_run("selector.k=5", groups=GROUPS)
    for path, right in ((one, "shape"), (other, "count")):
        write_scores(
            path, [(i, name, float(name == right)) for i in range(30) for name in ("shape", "count")]
        )
    cells, *_ = marks(cli, one, other, "--value", "shape")
    assert cells == {(4, "shape"): "best", (5, "shape"): None}
    # Groups of this name have the type "shape" alone.
    for path in (one, other):
        result = json.loads((path / "result.json").read_text())
        result["by_group"]["looks"] = {"accuracy": 0.5, "questions": 30}
        (path / "result.json").write_text(json.dumps(result))
    cells, *_ = marks(cli, one, other, "--value", "looks", "--value", "kept")
    assert cells == {(4, "looks"): "best", (5, "looks"): None, (4, "kept"): None, (5, "kept"): None}


def test_formats(cli, write_sweep):
    paths = write_sweep({4: 0.5, 7: 0.9})
    shown = f"{100 * json.loads((paths[1] / 'result.json').read_text())['accuracy']:.1f}"

    def table(*options):
        return cli("table", *paths, "--rows", "selector.k", *options).out

    text = table()
    assert re.search(rf"^7 +{re.escape(shown)}\*$", text, re.MULTILINE)
    assert text.splitlines()[-1].startswith("* the best, or not significantly different")
    widths = {len(line) - ("*" in line) for line in text.splitlines()[1:4]}
    assert len(widths) == 1  # the digits stand below one another
    text = table("--format", "markdown")
    assert f"| 7 | **{shown}** |" in text
    assert "Bold: the best, or not" in text.splitlines()[0]
    text = table("--format", "latex")
    assert rf"7 & \textbf{{{shown}}} \\" in text
    assert text.splitlines()[1].startswith("% bold: the best, or not")
    rows = list(csv.DictReader(io.StringIO(table("--format", "csv"))))
    assert f"{100 * float(rows[1]['accuracy mean']):.1f}" == shown
    for form in ("text", "markdown", "latex"):
        plain = table("--format", form, "--no-marks")
        assert not re.search(r"\*|textbf|the best", plain)


def test_without_predictions_there_are_no_marks_and_a_note(cli, names, write_sweep):
    paths = write_sweep({4: 0.5, 7: 0.9})
    missing = paths[0] / "predictions" / "test.jsonl"
    missing.unlink()
    ran = cli("table", *paths, "--rows", "selector.k", "--value", "accuracy", "--value", "count")
    assert "*" not in ran.out
    names(ran.err.rstrip(), "note:", "accuracy, count", "not marked", str(missing), "missing", "hacore eval")
    assert cli("table", *paths, "--no-marks").err == ""
    assert cli("table", *paths, "--value", "kept").err == ""
    assert cli("table", paths[0]).err == ""


def test_what_cannot_be_compared_is_not_marked(cli, names, write_run, write_scores, write_sweep):
    paths = write_sweep({4: 0.5, 5: 0.9})
    other = write_sweep({6: 0.5}, data__fingerprint="other")
    names(cli("table", *paths, *other).err.splitlines()[-1], "not marked", "data.fingerprint")
    ran = cli(
        "table", *write_sweep({4: 0.5, 5: 0.9}, seeds=(1,)), *paths, "--over", "selector.k", "--rows", "seed"
    )
    names(ran.err.splitlines()[-1], "not marked", "selector.k")
    old = [write_run(f"selector.k={k}") for k in (8, 9)]
    for path in old:
        write_scores(path, scores(0, 0.5))
    message = cli("table", *old, "--value", "relational").err.rstrip()
    names(message, "relational", "not marked", str(old[0]), "which types", "--value shape")


def test_columns_are_marked_apart(cli, write_run, write_scores):
    for use, chances in (("rn", {4: 0.9, 5: 0.5}), ("sum-pool", {4: 0.5, 5: 0.9})):
        for k, right in chances.items():
            path = write_run(f"selector.k={k}", f"aggregator.use={use}", accuracy=right)
            write_scores(path, scores(k, right))
    told = json.loads(
        cli("table", path.parent, "--rows", "selector.k", "--columns", "aggregator.use", "--json").out
    )
    best = {
        (cell["row"]["selector.k"], cell["column"]["aggregator.use"])
        for cell in told["cells"]
        if cell["mark"] == "best"
    }
    assert best == {(4, "rn"), (5, "sum-pool")}


def test_an_oracle_is_named_and_no_competitor(cli, write_sweep):
    paths = write_sweep({4: 0.3, 5: 0.7})
    oracle = write_sweep({6: 0.95}, oracle=True)
    dense = write_sweep({7: 0.3}, dense_training=True)
    cells, _, _ = marks(cli, *paths, *oracle, *dense)
    assert cells == {
        (4, "accuracy"): None,
        (5, "accuracy"): "best",
        (6, "accuracy"): None,
        (7, "accuracy"): None,
    }
    for form in ("text", "markdown", "latex", "csv"):
        shown = cli("table", *paths, *oracle, *dense, "--rows", "selector.k", "--format", form).out
        lines = [line for line in shown.splitlines() if "oracle" in line or "in training" in line]
        assert len(lines) == 2
        assert re.search(r"6 \(oracle\)", lines[0])
        assert re.search(r"7 \(all cells in training\)", lines[1])
    told = json.loads(cli("table", *paths, *oracle, "--rows", "selector.k", "--json").out)
    remarks = {cell["row"]["selector.k"]: cell["remarks"] for cell in told["cells"]}
    assert remarks == {4: [], 5: [], 6: ["oracle"]}
