"""The run folder: made whole, opened with care, compared with a spec."""

import json
import re

import pytest
import torch

from hacore.errors import RunError
from hacore.machine.files import save_tensors
from hacore.registry import registry
from hacore.runs import RunFolder
from hacore.runs.environment import describe_environment
from hacore.runs.metrics import MetricsFile, TrainLine
from hacore.runs.places import same_experiment
from hacore.spec import dump_spec, load_spec


def line(step):
    return TrainLine(step=step, epoch=0.5, loss=1.0, accuracy=0.5, kept=0.2, lr=0.1, seconds=1.0)


@pytest.fixture
def spec(request):
    return load_spec(request.config.rootpath / "experiments" / "han_rn.toml")


@pytest.fixture
def folder(spec, tmp_path):
    return RunFolder.create(spec, tmp_path / "runs", {"torch": "1"})


def test_a_new_folder_holds_the_spec_and_the_environment(spec, folder, tmp_path):
    assert folder.path.parent == tmp_path / "runs" / "han_rn"
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", folder.path.name)
    assert folder.spec_file.read_text() == dump_spec(spec)
    assert folder.spec() == spec
    assert json.loads(folder.environment_file.read_text()) == {"torch": "1"}
    assert [file.name for file in folder.path.parent.iterdir()] == [folder.path.name]


def test_runs_of_one_second_have_folders_of_their_own(spec, tmp_path):
    assert len({RunFolder.create(spec, tmp_path, {}).path for _ in range(5)}) == 5


def test_a_folder_that_cannot_be_made_leaves_nothing(spec, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be made.*Not a directory.*--runs"):
        RunFolder.create(spec, tmp_path / "file", {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"No space left on device"):
        RunFolder.create(spec, tmp_path / "runs", {})
    assert list((tmp_path / "runs" / "han_rn").iterdir()) == []


def test_what_is_no_run_folder(tmp_path):
    with pytest.raises(RunError, match=r"none: no such run folder.*'hacore run SPEC'"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(RunError, match=r"not a run folder.*spec\.toml"):
        RunFolder.open(tmp_path)


def test_the_best_checkpoint_counts_then_the_last(folder, names):
    with pytest.raises(RunError) as error:
        folder.checkpoint()
    names(str(error.value), f"{folder.path}:", "no checkpoint", f"hacore run --resume {folder.path}")
    save_tensors(folder.last, {"a": torch.ones(1)}, {})
    assert folder.checkpoint() == folder.last
    save_tensors(folder.best, {"a": torch.ones(1)}, {})
    assert folder.checkpoint() == folder.best


def test_a_result_that_is_not_there_yet(folder):
    with pytest.raises(RunError, match=r"result\.json: missing.*: hacore run --resume "):
        folder.result()


def test_another_experiment_is_told_by_its_first_difference(folder, names, request):
    path = request.config.rootpath / "experiments" / "han_rn.toml"
    same_experiment(folder, load_spec(path))
    lines = dump_spec(folder.spec()).splitlines()
    for override, table, key in [
        ("selector.k=7", "[selector]", "k"),
        ("eval.baseline_steps=7", "[eval]", "baseline_steps"),
        ("seed=7", "", "seed"),
    ]:
        (line,) = [line for line in lines if line.startswith(f"{key} = ")]
        with pytest.raises(RunError) as error:
            same_experiment(folder, load_spec(path, [override]))
        names(str(error.value), f"{folder.path}:", "another spec", table, f"'{line}'", f"'{key} = 7'")
        names(str(error.value), "resume without a spec", "run the given one afresh")
    with pytest.raises(RunError, match=r"another spec.*\[train\]"):
        same_experiment(folder, load_spec(path, ["train.patience=9"]))


def test_metrics_go_on_where_the_checkpoint_was(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path, 0)
    metrics.write(line(1))
    size = metrics.size
    metrics.write(line(2))
    metrics.close()
    metrics = MetricsFile(path, size)
    metrics.write(line(3))
    metrics.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]
    # The user may have deleted the file, or its end.
    path.write_bytes(b"")
    MetricsFile(path, size).close()
    assert path.read_bytes() == b""


def test_the_environment_names_versions_and_where_components_come_from(spec):
    environment = describe_environment(spec, torch.device("cpu"), 1)
    assert environment["libraries"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert environment["components"]["selector"] == {
        "name": "l2-topk",
        "distribution": "hacore-l2-topk",
        "version": registry().find("selector", "l2-topk").version,
    }
    assert set(environment["components"]) == {
        "data", "image_encoder", "question_encoder", "fuser", "selector", "aggregator",
    }  # fmt: skip
    assert environment["device"] == "cpu"
    assert json.loads(json.dumps(environment)) == environment
