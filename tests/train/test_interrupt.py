"""SIGTERM and Ctrl-C, to the object and to the command."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import hacore
from hacore.machine.files import load_tensors
from hacore.machine.interrupts import Interrupts
from hacore.spec import dump_spec
from hacore.workflow import run as run_spec


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert not interrupts.requested
        signal.raise_signal(number)
        assert interrupts.requested
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_leaves_at_once_and_a_second_sigterm_waits():
    with Interrupts():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_under_torchrun_a_ctrl_c_comes_twice_and_is_one_wish(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert interrupts.requested


def test_sigterm_is_passed_on_and_ctrl_c_is_not():
    calls = []
    with Interrupts(lambda: calls.append("SIGTERM")) as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.requested
        assert calls == []
        signal.raise_signal(signal.SIGTERM)
        assert calls == ["SIGTERM"]


def test_other_threads_leave_signals_alone():
    states = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with Interrupts() as interrupts:
            states.append((signal.getsignal(signal.SIGINT) is before, interrupts.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert states == [(True, False)]


def test_the_end_of_the_terminal_is_ignored_where_the_user_said_so():
    """As nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupts.requested
    finally:
        signal.signal(signal.SIGHUP, before)


# Neither a checkpoint nor an evaluation before the end.
CHANGES = {"train.epochs": 20, "train.log_steps": 1, "train.checkpoint_steps": 1000, "eval.every_epochs": 20}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_saves_leaves_with_status_1_and_says_how_to_go_on(
    make_spec, uninterrupted, assert_same, tmp_path, number
):
    expected = uninterrupted(CHANGES)  # first, so that the command finds the data made
    spec = make_spec(CHANGES)
    (tmp_path / "spec.toml").write_text(dump_spec(spec))
    process = subprocess.Popen(
        [sys.executable, "-m", "hacore", "run", "spec.toml"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # Tests that nohup started ignore SIGHUP, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 600
    started = []
    while not started and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        started = [path for path in tmp_path.glob("runs/tiny/2*/metrics.jsonl") if path.stat().st_size]
    process.send_signal(number)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 1, error
    (path,) = tmp_path.glob("runs/tiny/*")
    relative = path.relative_to(tmp_path)
    assert error.splitlines() == [
        f"run folder: {relative}",
        f"hacore: stopped before the end; resume with: hacore run --resume {relative}",
    ]

    folder = hacore.RunFolder.open(path)
    # Neither a checkpoint step nor an evaluation: the state of exactly the step it stopped at.
    assert load_tensors(folder.last)[1]["step"] == len(folder.metrics_file.read_text().splitlines())
    run_spec(folder.spec(), resume=folder, device="cpu")
    assert_same(folder, expected)
