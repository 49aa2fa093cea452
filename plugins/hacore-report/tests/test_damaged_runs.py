"""Run folders that are damaged: a line that names the place, and all that is whole stays readable."""

import json
import shutil

import pytest

from hacore.runs import RunFolder
from hacore.spec import load_spec
from hacore.workflow import run

SMALL = (
    *("data.images=40", "data.held_out=5", "data.validation=5", "train.steps=3", "train.threads=1"),
    *("image_encoder.channels=[4, 8]", "image_encoder.strides=[4]", "train.log_steps=1"),
    *("train.warmup_steps=0", "eval.baseline_steps=2"),
)
NESTED = "[" * 100_000


@pytest.fixture(scope="module")
def whole_run(request, tmp_path_factory):
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", SMALL)
    folder, _ = run(spec, runs=tmp_path_factory.mktemp("whole"), device="cpu", report=False)
    return folder


@pytest.fixture
def damaged_run(whole_run, tmp_path):
    """A copy, to be damaged."""
    shutil.copytree(whole_run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def change_line(path, number, **values):
    """Other values in a line of JSON."""
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **values})
    path.write_text("\n".join(lines) + "\n")


def change_json(path, *keys, value):
    """Another value under these keys."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("value", [[1], {}, None, "0.5", True, float("nan"), 1e999, 10**400, -1.0])
@pytest.mark.parametrize("key", ["accuracy", "lr"])
def test_a_damaged_line_of_metrics_is_left_out_and_named(cli, names, damaged_run, key, value):
    whole_lines = len(damaged_run.metrics_file.read_text().splitlines())
    assert whole_lines > 2
    change_line(damaged_run.metrics_file, 2, **{key: value})
    ran = cli("report", damaged_run.path)
    assert ran.status == 0
    (line,) = [line for line in ran.err.splitlines() if line]
    names(line, f"{damaged_run.metrics_file}:2:", key, "left out")
    page = damaged_run.report_file.read_text()
    assert "metrics.jsonl:2:" in page
    assert "Loss and accuracy by epoch" in page  # the lines that are whole are drawn


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"{", b"[1, 2]", b"3", b'{"kind": "other"}', b'{"kind": []}', b"", b"[" * 100_000],
    ids=["not UTF-8", "cut", "list", "number", "kind", "kind of list", "empty", "nested"],
)
def test_what_is_no_line_of_metrics_is_left_out_and_named(cli, names, damaged_run, text):
    with open(damaged_run.metrics_file, "ab") as file:
        file.write(text + b"\n")
    number = len(damaged_run.metrics_file.read_bytes().splitlines())
    ran = cli("report", damaged_run.path)
    assert ran.status == 0
    names(ran.err.strip(), f"{damaged_run.metrics_file}:{number}:", "left out")


def test_a_line_that_is_still_being_written_is_no_damage(cli, damaged_run):
    with open(damaged_run.metrics_file, "ab") as file:
        file.write(b'{"kind": "train", "st')
    assert cli("report", damaged_run.path).err == ""


def test_steps_that_come_twice_are_drawn_once(cli, names, damaged_run):
    lines = damaged_run.metrics_file.read_text().splitlines(keepends=True)
    damaged_run.metrics_file.write_text("".join([*lines, lines[0]]))
    error = cli("report", damaged_run.path).err
    names(error.strip(), f"{damaged_run.metrics_file}:{len(lines) + 1}:", "step 1", "after step 3")


def test_the_page_shows_a_spec_that_is_no_text_and_says_where(cli, names, damaged_run):
    with open(damaged_run.spec_file, "ab") as file:
        file.write(b"\xff")
    line = len(damaged_run.spec_file.read_bytes().splitlines())
    assert cli("report", damaged_run.path).status == 0
    page = damaged_run.report_file.read_text()
    assert "l2-topk" in page
    assert f"{damaged_run.spec_file}:{line}:" in page  # there is no gallery without a model, and this is why
    for command in (["table"], ["ask", "--image", "x", "--question", "y"], ["eval"], ["run", "--resume"]):
        if command[0] == "ask":
            continue
        names(cli(*command, damaged_run.path).error, f"{damaged_run.spec_file}:{line}:", "0xff", "UTF-8")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("probability", {}),
        ("probability", 1.5),
        ("probability", float("nan")),
        ("score", -1),
        ("score", "1"),
        ("kept", -1),
        ("kept", 2**63),
        ("cells", [-1]),
        ("cells", {"0": 1}),
        ("weights", [0.5]),
        ("id", 1.5),
        ("image", -(2**63) - 1),
        ("type", None),
    ],
)
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_damaged_line_of_predictions_is_named(cli, names, damaged_run, whole_run, command, key, value):
    file = damaged_run.predictions_file("test")
    change_line(file, 3, **{key: value})
    more = ["--against", whole_run.path] if command == "compare" else []
    ran = cli(command, damaged_run.path, *more)
    if command == "compare" and key not in ("score", "id", "image", "type"):
        assert ran.status == 0  # it reads what it needs
        return
    names(ran.error, f"{file}:3:", key, "'hacore eval'")


def test_predictions_that_are_no_text_nested_or_double_are_named_by_line(cli, names, damaged_run):
    file = damaged_run.predictions_file("test")
    content = file.read_bytes()
    for addition in (b"\xff", NESTED.encode(), content.splitlines()[0]):
        file.write_bytes(content + addition + b"\n")
        number = len(file.read_bytes().splitlines())
        names(cli("report", damaged_run.path).error, f"{file}:{number}:", "'hacore eval'")


def test_kept_cells_outside_of_the_grid_leave_out_the_gallery(cli, damaged_run):
    file = damaged_run.predictions_file("test")
    for number in range(1, len(file.read_text().splitlines()) + 1):
        change_line(file, number, cells=[3, 25])
    assert cli("report", damaged_run.path).status == 0
    page = damaged_run.report_file.read_text()
    assert "keeps cell 25" in page
    assert "There is no gallery" in page


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("accuracy",), {}),
        (("accuracy",), 7.5),
        (("kept",), float("nan")),
        (("questions",), -1),
        (("parameters",), 2**63),
        (("training", "seconds"), 1e999),
        (("by_type", "left"), None),
        (("by_type", "left", "accuracy"), -0.5),
        (("baselines", "majority", "accuracy"), []),
        (("checkpoint", "step"), "three"),
        (("checkpoint",), 3),
        (("groups", "relational"), "count"),
        (("split",), 4),
        (("format",), 2),
    ],
)
@pytest.mark.parametrize("command", ["report", "table", "plot"])
def test_a_damaged_result_is_named(cli, names, damaged_run, tmp_path, command, keys, value):
    change_json(damaged_run.result_file, *keys, value=value)
    more = ["--output", tmp_path / "plot.png"] if command == "plot" else []
    names(cli(command, damaged_run.path, *more).error, f"{damaged_run.result_file}:", keys[-1])


def test_baselines_and_steps_that_are_unknown_are_no_damage(cli, damaged_run):
    result = json.loads(damaged_run.result_file.read_text())
    result["baselines"]["a_new_one"] = result["baselines"]["majority"]
    result["checkpoint"] = {}
    damaged_run.result_file.write_text(json.dumps(result))
    assert cli("report", damaged_run.path).status == 0
    assert "A_new_one" in damaged_run.report_file.read_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", [3, -75, 75]),
        ("image_size", [3, 75, 2**62]),
        ("image_size", [75, 75]),
        ("image_std", [-1.0, 1.0, 1.0]),
        ("image_mean", [0.0]),
        ("image_mean", [0.0, 0.0, float("nan")]),
        ("word_vectors", -1),
        ("word_vectors", 10**9),
        ("stored_dtype", "save"),
        ("vocabulary", []),
        ("vocabulary", "words"),
        ("answers", [1]),
    ],
)
def test_damaged_inputs_are_named(cli, names, damaged_run, key, value):
    change_json(damaged_run.inputs_file, key, value=value)
    error = cli("eval", damaged_run.path).error
    names(error, f"{damaged_run.inputs_file}:")
    names(error, key if value != [] else "words", "the data are opened instead")


@pytest.mark.parametrize("change", ["seed = [1]", "seed = 1979-05-27", "name = 3", "selector = 3"])
def test_a_spec_of_other_kinds_of_values_is_named(cli, names, damaged_run, change):
    lines = damaged_run.spec_file.read_text().splitlines()
    key = change.partition(" ")[0]
    kept = [line for line in lines if not line.startswith(f"{key} =")]
    text = "\n".join([change, *kept])
    if key == "selector":
        text = "\n".join([change, 'name = "x"', "seed = 0"])
    damaged_run.spec_file.write_text(text)
    names(cli("table", damaged_run.path).error, f"{damaged_run.spec_file}:", key)


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "{}",
        '{"runs": 3}',
        '{"runs": [3]}',
        '{"runs": [{"name": "a"}]}',
        '{"runs": [{"name": 1, "run": 2}]}',
    ],
)
def test_a_damaged_index_of_a_sweep_is_named(cli, names, tmp_path, index):
    (tmp_path / "sweep.json").write_text(index)
    names(cli("table", tmp_path).error, f"{tmp_path / 'sweep.json'}:", "'hacore sweep'")
