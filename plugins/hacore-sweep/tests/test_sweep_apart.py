"""What an installation without hacore-sweep does with specs that have a [sweep], and with their folders."""

import sys

import pytest
from hacore_sweep import run_sweep

import hacore

SWEPT = "[sweep]\nseeds = [0, 1]\n"


@pytest.fixture
def without(uninstall, monkeypatch):
    """without() takes the package away."""

    def run():
        uninstall("hacore-sweep")
        for name in [name for name in sys.modules if name.partition(".")[0] == "hacore_sweep"]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, "hacore_sweep", None)

    return run


def test_a_single_run_needs_no_sweep(write, cli, without):
    without()
    assert cli("check", write(SWEPT)).status == 0
    assert cli("needs", "small.toml").status == 0
    assert cli("run", "small.toml", "--set", "sweep=none", "--device", "cpu").status == 0
    assert "\n  sweep " not in cli("--help").out


def test_the_missing_command_names_its_package(write, cli, names, without):
    without()
    names(
        cli("sweep", write(SWEPT)).error, "'sweep'", "not installed", "pip install -e", "plugins/hacore-sweep"
    )


def test_a_sweep_folder_is_tabulated(sweep, cli, without):
    pytest.importorskip("hacore_report")
    folder, _ = run_sweep(sweep(SWEPT), device="cpu")
    without()
    assert "small" in cli("table", folder.path).out


def test_the_function_of_the_core_forwards():
    assert hacore.run_sweep is run_sweep
