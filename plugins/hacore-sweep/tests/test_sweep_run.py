"""A sweep runs what is missing, several at a time, and goes on whatever happened."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from hacore_sweep import SweepFolder, SweepReporter, run_sweep

from hacore.errors import HacoreError, RunError
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder
from hacore.spec import load_spec, load_sweep
from hacore.workflow import run


class Notes(SweepReporter):
    """Keeps what it is told."""

    def __init__(self):
        self.began, self.over, self.said, self.most, self.counts = [], [], [], 0, None

    def start(self, finished, total, jobs):
        self.counts = finished, total, jobs

    def started(self, outcome):
        self.began.append(outcome.combination.spec.name)

    def progress(self, states):
        self.most = max(self.most, len(states))

    def ended(self, outcome):
        self.over.append((outcome.combination.spec.name, outcome.status))

    def message(self, text):
        self.said.append(text)


def results(folder):
    """{name of a run: its result without times}."""
    return {
        entry["name"]: without_times(RunFolder(folder.path / entry["run"]).result())
        for entry in folder.index()["runs"]
    }


def without_times(result):
    return {key: value for key, value in result.items() if key != "training"}


def test_a_sweep_runs_every_combination_as_hacore_run_would(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))
    plan = sweep("[sweep]\nseeds = [1]\nselector.k = [4, 9]")
    notes = Notes()
    folder, outcomes = run_sweep(plan, jobs=2, device="cpu", reporter=notes)
    assert folder.path == Path("sweeps/small")
    assert notes.counts == (0, 2, 2)
    assert notes.most == 2
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    entries = folder.index()["runs"]
    assert [(entry["values"], entry["seed"], entry["status"]) for entry in entries] == [
        ({"selector.k": 4}, 1, "finished"),
        ({"selector.k": 9}, 1, "finished"),
    ]
    for entry, combination in zip(entries, plan.combinations, strict=True):
        assert entry["run"].startswith(f"runs/{combination.spec.name}/")
        assert RunFolder.open(folder.path / entry["run"]).spec() == combination.spec
    # The data was made before, so that the jobs did not make it at the same time.
    assert not [log for log in (folder.path / "logs").iterdir() if "generating" in log.read_text()]
    _, expected = run(plan.combinations[1].spec, runs=tmp_path / "alone", device="cpu")
    assert results(folder)["small-k9-seed1"] == without_times(expected)

    # Again: nothing is left to do. With another seed: only that.
    notes = Notes()
    run_sweep(plan, device="cpu", reporter=notes)
    assert notes.began == []
    before = results(folder)
    more = load_sweep("small.toml", ["sweep.seeds=[0, 1]", "sweep.selector.k=[9]"])
    notes = Notes()
    run_sweep(more, device="cpu", reporter=notes)
    assert notes.began == ["small-seed0"]
    assert "runs that this sweep does not name are left as they are: 1, the first in" in notes.said[0]
    assert results(folder)["small-seed1"] == before["small-k9-seed1"]
    assert len(list(folder.runs.glob("*/*/result.json"))) == 3


def test_a_failed_run_does_not_stop_the_rest_and_is_tried_again(write, cli, names):
    path = write('[sweep]\nmode = "zip"\ntrain.lr = [1e-3, 1e30, 1e-2]\nselector.k = [26, 4, 4]')
    ran = cli("sweep", path, "--device", "cpu", "--jobs", "2")
    assert ran.status == 1
    lines = [line for line in ran.err.splitlines() if line.startswith("hacore: ")]
    large, infinite, count, way_out = lines
    names(large, "train.lr = 0.001, selector.k = 26, seed 0:", "k = 26", "25 cells")
    names(infinite, "train.lr = 1e+30, selector.k = 4, seed 0:", "step", "not finite")
    names(count, "2 of 3 runs failed", "sweeps/small/logs")
    names(way_out, "hacore sweep sweeps/small")
    assert "finished" in ran.out
    entries = {entry["name"]: entry for entry in SweepFolder.open("sweeps/small").index()["runs"]}
    assert [entry["status"] for entry in entries.values()] == ["failed", "failed", "finished"]
    names(entries["small-lr0.001-k26-seed0"]["error"], "k = 26", "25 cells")

    ran = cli("sweep", "sweeps/small", "--device", "cpu")
    assert ran.status == 1
    assert "3 runs, 1 of them finished before" in ran.err
    assert ran.err.count("\nfailed ") == 2


def test_specs_of_runs_that_an_editor_saved_or_that_are_damaged(write, cli):
    """A byte order mark makes no other run, and bytes that are no text no traceback."""
    path = write("[sweep]\nselector.k = [4, 9]")
    assert cli("sweep", path, "--device", "cpu", "--jobs", "2").status == 0
    first, second = sorted(Path("sweeps/small/runs").glob("*/*/spec.toml"))
    first.write_bytes(b"\xef\xbb\xbf" + first.read_bytes().replace(b"\n", b"\r\n"))
    second.write_bytes(second.read_bytes() + b"# \xff\n")
    ran = cli("sweep", path, "--device", "cpu")
    assert ran.status == 0
    assert "2 runs, 1 of them finished before" in ran.err


LONG = """
[sweep]
seeds = [0, 1]
train.epochs = [30]
train.checkpoint_steps = [100000]
eval.every_epochs = [30]
"""


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.02)
    return answer


def training(count):
    """The metrics of runs that are being trained, once there are as many."""

    def look():
        # Not rglob, which fails where a folder is renamed while it is walked.
        paths = Path("sweeps").glob("*/runs/*/[!.]*/metrics.jsonl")
        files = [path for path in paths if path.stat().st_size]
        return files if len(files) >= count else None

    return look


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_all_jobs_and_the_sweep_goes_on_to_the_same_result(write, start, number):
    path = write(LONG)
    process = start("sweep", path, "--jobs", "2", "--device", "cpu")
    wait_for(training(2))
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1, error
    assert error.splitlines()[-2:] == [
        "hacore: stopped before the end, 2 of 2 runs are missing",
        "hacore: resume with: hacore sweep sweeps/small",
    ]
    folder = SweepFolder.open("sweeps/small")
    assert [entry["status"] for entry in folder.index()["runs"]] == ["interrupted", "interrupted"]
    for entry in folder.index()["runs"]:
        run_folder = RunFolder(folder.path / entry["run"])
        # No checkpoint was due: the state is that of the step at which the run was stopped.
        assert (
            load_tensors(run_folder.last)[1]["step"]
            == len(run_folder.metrics_file.read_text().splitlines())
            > 0
        )
    _, outcomes = run_sweep(folder.sweep(), jobs=2, device="cpu")
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    assert len(list(folder.runs.glob("*/*"))) == 2
    spec = load_spec(folder.path / "specs" / "small-seed1.toml")
    _, expected = run(spec, runs="alone", device="cpu")
    assert results(folder)["small-seed1"] == without_times(expected)


def test_trainings_that_outlive_a_killed_sweep_are_not_begun_again(write, start):
    path = write(LONG)
    process = start("sweep", path, "--jobs", "1", "--seed", "1", "--device", "cpu")
    (metrics,) = wait_for(training(1))
    process.kill()
    process.wait()
    with pytest.raises(RunError, match=r"another 'hacore sweep'.*left behind"):
        run_sweep(load_sweep(path), device="cpu")
    folder = RunFolder(metrics.parent)
    wait_for(folder.result_file.is_file)
    notes = Notes()
    wait_for(lambda: _unlocked(path, notes))
    assert notes.counts is None


def _unlocked(path, notes):
    try:
        return run_sweep(load_sweep(path), seeds=[1], device="cpu", reporter=notes)
    except RunError:
        return None


def test_an_error_in_the_sweep_itself_ends_its_jobs(sweep, monkeypatch):
    class Broken(Notes):
        def progress(self, states):
            if states and states[0].done > 0:
                raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_sweep(sweep(LONG), jobs=1, device="cpu", reporter=Broken())
    folder = SweepFolder.open("sweeps/small")
    assert [entry["status"] for entry in folder.index()["runs"]] == ["interrupted", "waiting"]
    # The lock is free, so no process is left.
    with folder.locked():
        pass


def test_seeds_choose_what_is_run_and_the_others_stay(write, cli, names):
    path = write("[sweep]\nseeds = [0, 1]\nselector.k = [4]")
    assert cli("sweep", path, "--seed", "1", "--device", "cpu").status == 0
    entries = SweepFolder.open("sweeps/small").index()["runs"]
    assert [entry["status"] for entry in entries] == ["waiting", "finished"]
    # Another recipe under the same names is run, whatever the folder has.
    before = RunFolder("sweeps/small/" + entries[1]["run"]).result()["training"]["steps"]
    ran = cli("sweep", path, "--seed", "1", "--device", "cpu", "--set", "train.epochs=2")
    assert "runs that this sweep does not name are left as they are: 1" in ran.err
    (entry,) = [entry for entry in SweepFolder.open("sweeps/small").index()["runs"] if entry["seed"] == 1]
    assert entry["run"] != entries[1]["run"]
    assert RunFolder("sweeps/small/" + entry["run"]).result()["training"]["steps"] == 2 * before
    listed = json.loads(cli("sweep", path, "--seed", "0", "--dry-run", "--json").out)
    assert [(row["name"], row["status"]) for row in listed] == [("small-seed0", "waiting")]
    for dry in ((), ("--dry-run",)):
        error = cli("sweep", path, "--seed", "2", *dry).error
        names(error, "seed 2", "not in the sweep", "0, 1", "add it")


def test_json_names_the_runs(write, cli):
    path = write("[sweep]\nselector.k = [4]")
    listed = json.loads(cli("sweep", path, "--dry-run", "--json").out)
    assert [(row["name"], row["status"], row["run"]) for row in listed] == [("small-seed0", "waiting", None)]
    assert not os.path.exists("sweeps")
    ran = cli("sweep", path, "--device", "cpu", "--output", "elsewhere", "--json")
    report = json.loads(ran.out)
    assert report["sweep"] == "elsewhere"
    assert [entry["status"] for entry in report["runs"]] == ["finished"]
    assert RunFolder.open(Path("elsewhere", report["runs"][0]["run"])).result()["accuracy"] >= 0
    # The folder stands for the spec it was made from.
    Path(path).unlink()
    assert "finished" in cli("sweep", "elsewhere", "--dry-run").out
    assert cli("sweep", "elsewhere", "--set", "selector.k=3").status == 2


def test_a_sweep_under_torchrun_is_refused(sweep, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HacoreError, match="run it without torchrun"):
        run_sweep(sweep("[sweep]\nselector.k = [4]"))


def test_a_folder_that_cannot_be_made_is_named(sweep):
    Path("file").write_text("")
    with pytest.raises(RunError, match=r"^file/x: cannot be made.*Not a directory.*another folder"):
        run_sweep(sweep("[sweep]\nselector.k = [4]"), output="file/x")
