"""A sweep that takes a second a run, besides starting its process."""

import os
import subprocess
import sys

import pytest

from hacore.spec import load_sweep

BASE = """\
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


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(sweep) makes ``small.toml`` in the folder of the test, which becomes the working directory."""
    monkeypatch.chdir(tmp_path)

    def run(sweep, base=BASE):
        (tmp_path / "small.toml").write_text(base + sweep)
        return "small.toml"

    return run


@pytest.fixture
def sweep(write):
    """sweep(text, *overrides) is the sweep of a small spec."""
    return lambda text, *overrides: load_sweep(write(text), overrides)


@pytest.fixture
def start():
    """start("sweep", ...) starts the command in a process; it is killed when the test ends."""
    processes = []

    def run(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "hacore", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
