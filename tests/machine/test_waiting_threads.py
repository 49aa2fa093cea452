"""Threads of the command line soon sleep while they wait; OpenMP itself is asked, by OMP_DISPLAY_ENV."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hacore.machine.files import load_tensors
from hacore.machine.processes import World
from hacore.machine.threads import SHORT, WAITING, cores

ROOT = Path(__file__).parents[2]
COUNT = SHORT["GOMP_SPINCOUNT"]
SPEC = str(ROOT / "experiments" / "han_rn.toml")
IN_CHILDREN = """
import hacore
spec = hacore.load_spec({spec!r}, {overrides!r})
hacore.run(spec, runs={runs!r}, device="cpu")
"""


def shown(*command, **variables):
    """How often a waiting thread looks before it sleeps, for each process of a program that loads OpenMP."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    ran = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**environment, "OMP_DISPLAY_ENV": "VERBOSE", **variables},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return re.findall(r"GOMP_SPINCOUNT = '(\d+)'", ran.stderr)


@pytest.fixture(scope="module")
def default():
    """What libgomp does when it is told nothing."""
    (count,) = shown("-c", "import torch") or pytest.skip("torch has another OpenMP than libgomp")
    assert int(count) > 0
    return count


def test_threads_of_a_command_sleep(default, tmp_path, flags):
    assert shown("-m", "hacore", "run", SPEC, "--runs", tmp_path, "--device", "cpu", *flags) == [COUNT]


@pytest.mark.parametrize(
    ("variables", "count"),
    [({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000")],
)
def test_what_the_user_says_stays(default, variables, count):
    assert shown("-m", "hacore", "check", SPEC, **variables) == [count]


def test_a_program_that_uses_the_library_stays_as_it_is_and_its_trainings_sleep(default, tmp_path, tiny):
    overrides = (*tiny, "train.processes=2")
    code = IN_CHILDREN.format(spec=SPEC, overrides=overrides, runs=str(tmp_path))
    # Of the two processes of the training, the first shares this one's standard error.
    assert shown("-c", code) == [default, COUNT]
    code = "from hacore.cli import main\ntry:\n    main(['check', {spec!r}])\nexcept SystemExit: pass"
    assert shown("-c", code.format(spec=SPEC)) == [default]


def test_how_threads_wait_changes_no_bit(tmp_path, flags):
    weights = []
    for variables in ({}, {"GOMP_SPINCOUNT": "300000"}):
        runs = tmp_path / str(len(variables))
        words = ("run", SPEC, "--runs", runs, "--device", "cpu", *flags, "--set", "train.threads=2")
        shown("-m", "hacore", *words, **variables)
        (file,) = runs.glob("*/*/checkpoints/last.safetensors")
        weights.append(load_tensors(file)[0])
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_processes_share_the_cores_that_they_may_use(one_thread, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert cores() == 6
    World(processes=3).share_cores(None, torch.device("cpu"))
    assert torch.get_num_threads() == 2
    World(processes=3).share_cores(1, torch.device("cpu"))
    assert torch.get_num_threads() == 1
