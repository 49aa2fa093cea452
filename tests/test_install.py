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


def test_what_make_run_adds_is_complete():
    """No package of ours is on an index, so pip must be given all that these packages require."""
    named = re.search(
        r"^PAGES := \$\(addprefix hacore-,((?:.|\\\n)*?)\)$", (ROOT / "Makefile").read_text(), re.M
    )
    pages = {f"hacore-{name}" for name in named[1].replace("\\", " ").split()}
    assert {"hacore-report", "hacore-serve", "hacore-zoo"} <= pages
    for page in pages:
        project = tomllib.loads((ROOT / "plugins" / page / "pyproject.toml").read_text())["project"]
        required = {re.match(r"[\w-]+", text)[0] for text in project["dependencies"]}
        assert {name for name in required if name.startswith("hacore-")} <= pages
