"""``hacore runs``: every run with its state, whatever it is in."""

import json
import shutil

import pytest


@pytest.fixture
def listed(tmp_path, request, monkeypatch):
    """Runs of two names: finished, unfinished, failed and damaged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for day, kind in enumerate(("han", "unfinished", "unfinished", "adahan"), start=1):
        folder = tmp_path / "runs" / kind / f"2026010{day}-120000-abc12{day}"
        shutil.copytree(request.config.rootpath / "tests" / "earlier" / kind, folder)
        if day == 3:
            (folder / "error.txt").write_text("the disk is full")
        if day == 4:
            (folder / "result.json").write_text("{")


def test_every_run_has_its_state(listed, cli):
    ran = cli("runs", "--json")
    assert ran.status == 0
    runs = {run["run"]: run for run in json.loads(ran.out)}
    finished = runs["runs/han/20260101-120000-abc121"]
    assert (finished["state"], finished["seed"], finished["date"]) == ("finished", 3, "2026-01-01T12:00:00")
    assert 0 < finished["accuracy"] < 1
    assert finished["kept"] == pytest.approx(0.24)
    unfinished = runs["runs/unfinished/20260102-120000-abc122"]
    assert (unfinished["state"], unfinished["step"], unfinished["steps"]) == ("unfinished", 688, 48000)
    failed = runs["runs/unfinished/20260103-120000-abc123"]
    assert (failed["state"], failed["problem"]) == ("failed", "the disk is full")
    assert runs["runs/adahan/20260104-120000-abc124"]["state"] == "damaged"


def test_the_table_fits_80_columns(listed, cli):
    ran = cli("runs")
    table, _, problems = ran.out.partition("\nruns/")
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "step 688 of 48,000" in table
    assert "the disk is full" in problems


def test_one_name_and_no_runs(listed, cli, tmp_path, names):
    assert [run["name"] for run in json.loads(cli("runs", "runs/han", "--json").out)] == ["earlier"]
    (tmp_path / "empty").mkdir()
    assert "no runs yet" in cli("runs", "empty").out
    names(cli("runs", "none").error, "none:", "no such folder")
    names(cli("table", "none").error, "none:", "no such folder", "hacore runs")
