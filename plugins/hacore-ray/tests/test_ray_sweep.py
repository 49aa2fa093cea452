"""A sweep on a Ray cluster of two nodes on this machine: what holds on one machine holds there."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import attrs
import pytest
from hacore_sweep import SweepFolder, run_sweep

from hacore.machine.commands import child_command
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder
from hacore.spec import load_spec
from hacore.workflow import run

pytestmark = pytest.mark.slow

SPEC = """
name = "small"
data = { use = "sort-of-clevr", images = 40, held_out = 5, validation = 5 }
image_encoder = { use = "small-cnn", channels = [4, 8], strides = [4] }
question_encoder = { use = "lstm", embedding = 8, hidden = 8 }
fuser = { use = "multiply", width = 8 }
selector = { use = "l2-topk", k = 4 }
aggregator = { use = "sum-pool" }
[train]
epochs = 1
batch_images = 4
threads = 1
log_steps = 1
warmup_steps = 0
[eval]
baseline_steps = 0
"""

LONG = """
[sweep]
seeds = [0, 1]
train.epochs = [60]
train.checkpoint_steps = [20]
eval.every_epochs = [60]
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes of one CPU each."""
    pytest.importorskip("ray", reason="needs Ray: pip install ray")
    # The sweep is in a folder that both nodes have, and so is the data.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # A node that does not answer is given up after 3 seconds.
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture
def start(cluster):
    """start(sweep) writes the spec and starts its sweep on the cluster; killed when the test ends."""
    processes = []

    def begin(sweep):
        Path("small.toml").write_text(SPEC + sweep)
        words = ["sweep", "small.toml", "--on", "ray", "--with", f"address={cluster.address}"]
        processes.append(
            subprocess.Popen(
                child_command(*words, "--device", "cpu"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(what, seconds=180):
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.05)
    return value


def trained(count, steps=1):
    """The runs of which so many have been trained for some steps, once they have."""

    def look():
        files = [
            file for file in Path("sweeps").glob("*/runs/*/[!.]*/metrics.jsonl") if len(lines(file)) >= steps
        ]
        return files if len(files) >= count else None

    return look


def lines(path):
    return path.read_text().splitlines()


def nodes():
    """The nodes that each run was on, in order, by its name."""
    logs = Path("sweeps/small/logs").glob("*.log")
    return {
        log.stem: re.findall(r"^on \S+, node (\w+) of Ray$", log.read_text(), re.MULTILINE) for log in logs
    }


def result(entry):
    result = RunFolder(Path("sweeps/small", entry["run"])).result()
    return attrs.evolve(result, training=None)


def alone(name):
    """The result of a run of the sweep that nothing interrupted."""
    _, result = run(load_spec(Path("sweeps/small/specs", f"{name}.toml")), runs="alone", device="cpu")
    return attrs.evolve(result, training=None)


def test_a_failed_run_does_not_stop_the_rest_on_two_nodes(start):
    for name in ("random", "types", "torch", "tomllib", "hacore"):  # of the user's, which nothing imports
        Path(f"{name}.py").write_text("raise SystemExit('the module of the working folder')")
    process = start("[sweep]\nseeds = [0, 1]\nselector.k = [4, 26]\n")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 1, error
    assert "4 runs; 2 at a time" in error
    entries = {entry["name"]: entry for entry in SweepFolder.open("sweeps/small").index()["runs"]}
    assert {entry["status"] for name, entry in entries.items() if "k26" in name} == {"failed"}
    assert "k = 26 is more than the 25 cells" in entries["small-k26-seed1"]["error"]
    assert result(entries["small-k4-seed1"]) == alone("small-k4-seed1")
    assert entries["small-k4-seed0"]["status"] == "finished"
    assert len({node for each in nodes().values() for node in each}) == 2
    assert "resume with: hacore sweep sweeps/small --on ray --with address=" in error
    assert out.count("finished") == 2


def test_ctrl_c_has_all_runs_save_their_state_and_the_sweep_goes_on(start):
    process = start(LONG)
    wait_for(trained(2))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=180)
    assert process.returncode == 1, error
    assert "stopped before the end, 2 of 2 runs are missing" in error
    folder = SweepFolder.open("sweeps/small")
    assert [entry["status"] for entry in folder.index()["runs"]] == ["interrupted", "interrupted"]
    for entry in folder.index()["runs"]:
        run_folder = RunFolder(folder.path / entry["run"])
        # The state is that of the step at which the run was stopped, not of the last one due.
        assert load_tensors(run_folder.last)[1]["step"] == len(lines(run_folder.metrics_file)) > 0
    # It may continue on other machines.
    run_sweep(folder.sweep(), jobs=2, device="cpu")
    for entry in folder.index()["runs"]:
        assert result(entry) == alone(entry["name"])


def test_a_run_whose_machine_is_lost_continues_on_another(start, cluster):
    process = start(LONG)
    wait_for(trained(2, steps=25))
    (lost,) = [name for name, each in nodes().items() if each == [cluster.second.node_id]]
    cluster.remove_node(cluster.second, allow_graceful=False)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    assert "lost" in error
    assert "\nresume " in error
    assert len(nodes()[lost]) == 2
    entries = {entry["name"]: entry for entry in SweepFolder.open("sweeps/small").index()["runs"]}
    assert result(entries[lost]) == alone(lost)
    assert len(list(Path("sweeps/small/runs").glob("*/*"))) == 2


def test_trainings_leave_when_the_sweep_is_killed(start):
    process = start(LONG)
    files = wait_for(trained(2))
    process.kill()
    process.wait()

    def left():
        states = [RunFolder(file.parent).last for file in files]
        return all(
            state.is_file()
            and load_tensors(state)[1]["step"] == len(lines(state.parents[1] / "metrics.jsonl"))
            for state in states
        )

    wait_for(left)
    again = start(LONG)
    _, error = again.communicate(timeout=400)
    assert again.returncode == 0, error
    for entry in SweepFolder.open("sweeps/small").index()["runs"]:
        assert result(entry) == alone(entry["name"])
        steps = [
            json.loads(line)["step"] for line in lines(Path("sweeps/small", entry["run"], "metrics.jsonl"))
        ]
        assert steps == sorted(steps)
