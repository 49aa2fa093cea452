"""``train.processes``: several processes without torchrun."""

import os
import signal
import subprocess
import sys
import time

import pytest

import hacore
from hacore.errors import ComposeError, RunError
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder
from hacore.spec import dump_spec
from hacore.workflow.launch import run_processes


def test_processes_of_the_spec_train_one_model_together(make_spec, tmp_path):
    folder, result = hacore.run(make_spec({"train.processes": 2, "train.epochs": 1}), runs=tmp_path)
    assert result["training"]["processes"] == 2
    assert folder.environment_file.is_file()
    tensors, state = load_tensors(folder.last)
    assert state["step"] == result["training"]["steps"] == 8
    assert {"process.0.cpu", "process.1.cpu"} <= tensors.keys()
    again, _ = hacore.run(make_spec({"train.processes": 2, "train.epochs": 1}), runs=tmp_path)
    weights = load_tensors(again.last)[0]
    for name in (name for name in tensors if name.startswith("model.")):
        assert weights[name].equal(tensors[name]), name


def test_a_failing_process_is_reported_and_ends_the_others(make_spec, tmp_path, capfd):
    spec = make_spec({"train.processes": 2, "train.lr": 1e30, "train.clip_norm": 0.0, "train.epochs": 50})
    with pytest.raises(RunError, match=r"a training process ended with status 1.*--resume"):
        hacore.run(spec, runs=tmp_path)
    errors = capfd.readouterr().err
    assert errors.count("hacore:") == 1  # the first process speaks for all
    assert "finite" in errors
    assert "lower train.lr" in errors


def test_what_does_not_fit_is_reported_before_a_folder_is_made(make_spec, tmp_path):
    with pytest.raises(ComposeError, match="k = 600"):
        hacore.run(make_spec({"train.processes": 2, "selector.k": 600}), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_sigterm_stops_all_processes_and_the_run_can_go_on(make_spec, tmp_path):
    spec = make_spec({"train.processes": 2, "train.epochs": 400})
    program = tmp_path / "spec.toml"
    program.write_text(dump_spec(spec))
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "hacore", "run", str(program), "--runs", str(runs)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(runs.glob("tiny/*/checkpoints/last.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (path,) = runs.glob("tiny/*")
    assert f"resume with: hacore run --resume {path}" in errors.decode()
    folder = RunFolder.open(path)
    before = load_tensors(folder.last)[1]["step"]
    resumed = subprocess.Popen([*command[:4], "--resume", str(path)], stderr=subprocess.DEVNULL)
    while load_tensors(folder.last)[1]["step"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    resumed.terminate()
    assert resumed.wait(timeout=60) == 1


def test_no_process_is_left_behind(make_spec, tmp_path):
    folder, _ = hacore.run(make_spec({"train.steps": 1}), runs=tmp_path)
    run_processes(folder, 2, "cpu")  # finished already: both leave at once
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder.path) not in running


def test_modules_of_the_working_folder_are_not_those_of_python(make_spec, tmp_path, monkeypatch):
    """The processes import what a run in one process imports, whatever the user's own scripts are called."""
    monkeypatch.chdir(tmp_path)
    for name in ("random", "types", "torch", "numpy", "attr", "hacore"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the module of the working folder')")
    _, result = hacore.run(make_spec({"train.processes": 2, "train.steps": 1}), runs=tmp_path / "runs")
    assert result["training"]["processes"] == 2


def test_plugins_on_pythonpath_are_found_by_the_processes(make_spec, tmp_path, monkeypatch, install):
    """Even where that is the working folder."""
    source = """
from hacore.plugin import Component, hookimpl
from hacore_l2_topk import Config

hacore_contract = 2
target = "hacore_l2_topk.l2_topk:L2TopK"

@hookimpl
def hacore_declare():
    return [Component(kind="selector", name="path-topk", target=target, config=Config, summary="k")]
"""
    folder = install("path_topk", source)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    changes = {"train.processes": 2, "train.steps": 1, "selector.use": "path-topk"}
    _, result = hacore.run(make_spec(changes), runs=tmp_path / "runs")
    assert result["training"]["processes"] == 2
