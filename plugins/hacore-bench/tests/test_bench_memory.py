"""Peak memory."""

import os
import subprocess
import sys

import pytest
from hacore_bench.memory import _AT_ONCE, _CLEAR, peaks_in_another_process

import hacore

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not _CLEAR.exists(), reason="peak memory is read from Linux's /proc"),
]
ALLOCATE = """
import torch
from hacore_bench.memory import _peak
held = torch.ones(40 << 20, dtype=torch.uint8)

def work():
    torch.ones(30 << 20, dtype=torch.uint8)
    torch.ones(70 << 20, dtype=torch.uint8)

print(_peak(work, torch.device("cpu")))
"""


def test_the_peak_is_what_is_held_at_once():
    environment = {**os.environ, **_AT_ONCE}
    command = [sys.executable, "-c", ALLOCATE]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 65 << 20 <= int(ran.stdout) <= 85 << 20


def test_more_questions_and_all_cells_need_more(request, tiny):
    spec = str(request.config.rootpath / "experiments" / "han_rn.toml")
    hacore.open_dataset(hacore.load_spec(spec, tiny).data)
    found, notes = peaks_in_another_process(spec, tiny, "cpu", [1, 64], True)
    assert notes == []
    assert found["own 64"]["step"] > found["own 1"]["step"]
    assert found["all-cells 64"]["step"] > found["own 64"]["step"]
    assert found["own 64"]["step"] > found["own 64"]["forward"]


def test_a_process_that_fails_is_a_note(tmp_path, names):
    found, (note,) = peaks_in_another_process(str(tmp_path / "none.toml"), [], "cpu", [1], True)
    assert found == {}
    names(note, "peak memory", "none.toml")
