"""The folder of a name stands for one of its runs: the newest finished one, or the newest to resume."""

import json
import shutil

import pytest

import hacore
from hacore.errors import RunError
from hacore.runs.choosing import finished_run, unfinished_run


@pytest.fixture
def runs(tmp_path, request, monkeypatch):
    """runs(**{name: (earlier, ...)}): folders of runs in runs/, named by time in this order."""
    monkeypatch.chdir(tmp_path)

    def make(**names):
        for name, kinds in names.items():
            for day, kind in enumerate(kinds, start=1):
                folder = tmp_path / "runs" / name / f"2026010{day}-120000-abc12{day}"
                shutil.copytree(request.config.rootpath / "tests" / "earlier" / kind, folder)

    return make


def test_the_newest_finished_run_is_taken_and_named(runs, cli, names):
    runs(han=("han", "han", "unfinished"))
    assert finished_run("runs/han").path.name == "20260102-120000-abc122"
    assert hacore.load("runs/han", device="cpu").folder.path.name == "20260102-120000-abc122"
    ran = cli("export", "runs/han", "--output", "none.txt")
    names(ran.err.splitlines()[0], "runs/han:", "20260102-120000-abc122", "newest of 2 finished runs")


def test_the_newest_unfinished_run_is_resumed(runs, cli, names):
    runs(han=("unfinished", "unfinished", "han"))
    assert unfinished_run("runs/han").path.name == "20260102-120000-abc122"
    ran = cli("run", "--resume", "runs/han", "--dry-run")
    assert ran.status == 0
    names(ran.err.strip(), "runs/han:", "20260102-120000-abc122", "newest of 2 unfinished runs")


def test_a_run_folder_is_itself(runs):
    runs(han=("unfinished",))
    path = "runs/han/20260101-120000-abc121"
    assert str(finished_run(path).path) == str(unfinished_run(path).path) == path


@pytest.mark.parametrize(
    ("path", "choose", "parts"),
    [
        ("runs/begun", finished_run, ["none of its runs (2)", "hacore run --resume runs/begun/20260102"]),
        ("runs/done", unfinished_run, ["all of its runs (1)", "hacore eval runs/done/20260101"]),
        ("runs", finished_run, ["runs of 2 names", "runs/begun, runs/done"]),
        ("runs/none", finished_run, ["runs/none:", "no such run folder"]),
        (".", finished_run, ["not a run folder"]),
    ],
)
def test_where_there_is_none_the_error_says_what_there_is(runs, path, choose, parts):
    runs(begun=("unfinished", "unfinished"), done=("han",))
    with pytest.raises(RunError) as caught:
        choose(path)
    for part in parts:
        assert part in str(caught.value)


def test_a_run_ends_with_what_to_do_next(cli, request, flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = request.config.rootpath / "experiments" / "han_rn.toml"
    ran = cli("run", spec, *flags, "--device", "cpu", "--no-report")
    (folder,) = (tmp_path / "runs" / "han_rn").iterdir()
    lines = ran.out.partition("next: ")[2].splitlines()
    assert lines[0] == f'hacore ask runs/han_rn/{folder.name} PICTURE "QUESTION"'
    assert "hacore table runs/han_rn" in [line.strip() for line in lines]
    assert json.loads((folder / "result.json").read_text())["seed"] == 0


def test_why_a_run_failed_is_kept_until_it_is_resumed(cli, request, flags, tmp_path, monkeypatch):
    from hacore.train.trainer import Trainer

    monkeypatch.chdir(tmp_path)
    train, spec = Trainer.train, request.config.rootpath / "experiments" / "han_rn.toml"

    def fail(self):
        raise RunError("no more room")

    monkeypatch.setattr(Trainer, "train", fail)
    assert cli("run", spec, *flags, "--device", "cpu", "--no-report").status == 1
    folder = unfinished_run("runs/han_rn")
    assert folder.failure() == "no more room"
    monkeypatch.setattr(Trainer, "train", train)
    assert cli("run", "--resume", "runs/han_rn", "--device", "cpu", "--no-report").status == 0
    assert folder.failure() is None
