"""Only what a spec needs is installed, and that is enough. Slow: it installs torch into a new environment."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hacore.cli import main

ROOT = Path(__file__).parents[1]
SMALL = [
    *("--set", "data.images=40", "--set", "data.held_out=5", "--set", "data.validation=5"),
    *("--set", "train.steps=3", "--set", "train.processes=1", "--set", "eval.baseline_steps=2"),
]


def packages_of(spec, capsys):
    with pytest.raises(SystemExit) as left:
        main(["needs", str(spec)])
    assert left.value.code == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_a_new_environment_with_only_what_the_spec_needs_runs_it(tmp_path, capsys):
    spec = ROOT / "experiments" / "han_rn.toml"
    packages = packages_of(spec, capsys)
    assert "hacore-rn" in packages
    assert "hacore-adahan" not in packages
    assert "hacore-resnet" not in packages
    folders = [ROOT if name == "hacore" else ROOT / "plugins" / name for name in packages]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "hatchling"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-build-isolation", *folders], check=True)

    environment = {**os.environ, "HACORE_CACHE": str(tmp_path / "cache")}
    # Away from the checkout, so that nothing of it is importable by accident.
    away = tmp_path / "away"
    away.mkdir()

    def hacore(*arguments, expected):
        done = subprocess.run(
            [python, "-m", "hacore", *arguments],
            capture_output=True,
            text=True,
            cwd=away,
            env=environment,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        return done

    done = hacore("run", str(spec), *SMALL, expected=0)
    assert "question only" in done.stdout
    installed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True)
    assert "torchvision" not in installed.stdout
    adahan = hacore("run", str(ROOT / "experiments" / "adahan_rn.toml"), expected=1)
    assert adahan.stdout == ""
    assert "pip install -e plugins/hacore-adahan" in adahan.stderr
    assert len(adahan.stderr.splitlines()) == 1


def test_make_run_gives_pip_all_of_ours_that_is_required(tmp_path):
    """No package of ours is on an index."""
    for name in ("Makefile", "pyproject.toml", "plugins"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    programs = {"hacore": '[ "$1" != needs ] || echo hacore-rn', "python": 'echo "$@"'}
    for name, line in programs.items():
        (tmp_path / ".venv" / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    for name in (".core", ".tools"):
        (tmp_path / ".venv" / name).touch()
    ran = subprocess.run(["make", "run"], cwd=tmp_path, capture_output=True, text=True, check=True)
    installed = {word for word in ran.stdout.split() if word.startswith("plugins/hacore-")}
    assert {"plugins/hacore-rn", "plugins/hacore-report", "plugins/hacore-serve"} <= installed
    for folder in installed:
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        required = {re.match(r"[\w-]+", text)[0] for text in project["dependencies"]}
        assert {f"plugins/{name}" for name in required if name.startswith("hacore-")} <= installed
