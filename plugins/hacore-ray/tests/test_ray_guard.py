"""What a machine does with a run, without Ray: it begins where it may, and outlives nobody."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hacore_ray import guard, trainer

# Says that it is at work, and answers SIGTERM as a training does.
TRAINING = """
import signal, sys, time
def leave(*_):
    print("saved", flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
print("at work", flush=True)
time.sleep(60)
"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "run.log"


@pytest.fixture
def guarded(log):
    """guarded(code) runs Python code under a guard, which writes to the log; killed when the test ends."""
    processes = []

    def run(code):
        with open(log, "ab") as out:
            command = [sys.executable, guard.__file__, sys.executable, "-c", code]
            processes.append(subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True))
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(log, text, seconds=60):
    deadline = time.monotonic() + seconds
    while not log.exists() or text not in log.read_text():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.02)


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_the_commands(guarded, status):
    assert guarded(f"import sys; sys.exit({status})").wait(60) == status


def test_a_command_that_dies_of_a_signal_is_told_by_the_same(guarded):
    assert guarded("import os; os.kill(os.getpid(), 9)").wait(60) == -9


def test_a_wish_to_stop_is_passed_on(guarded, log):
    process = guarded(TRAINING)
    wait_for(log, "at work")
    process.terminate()
    assert process.wait(60) == 1
    assert log.read_text() == "at work\nsaved\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent-death signal")
def test_a_guard_that_is_killed_takes_the_training_with_it(guarded, log):
    process = guarded(TRAINING)
    wait_for(log, "at work")
    process.kill()
    wait_for(log, "saved")


def test_a_training_leaves_when_whoever_began_it_is_gone(log):
    command = [sys.executable, guard.__file__, sys.executable, "-c", TRAINING]
    code = f"import subprocess, time; subprocess.Popen({command!r}, start_new_session=True); time.sleep(60)"
    with open(log, "ab") as out:
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out)
    wait_for(log, "at work")
    parent.kill()
    parent.wait()
    wait_for(log, "saved")


def test_a_run_is_not_begun_while_the_same_is_still_at_work(guarded, log):
    first = guarded(TRAINING)
    wait_for(log, "at work")
    second = guarded("print('second', flush=True)")
    time.sleep(1.0)
    assert second.poll() is None
    assert "second" not in log.read_text()
    first.terminate()
    assert second.wait(60) == 0
    assert log.read_text() == "at work\nsaved\nsecond\n"


def test_one_that_waits_for_another_can_be_stopped(guarded, log):
    guarded(TRAINING)
    wait_for(log, "at work")
    second = guarded("print('second', flush=True)")
    time.sleep(0.5)
    second.terminate()
    assert second.wait(60) == -signal.SIGTERM


def test_a_machine_without_the_sweep_folder_is_named(tmp_path):
    def task(text):
        return trainer.Task(
            folder=str(tmp_path),
            spec_file="specs/small.toml",
            spec_text=text,
            arguments=(),
            log="small.log",
            environment={},
        )

    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "small.toml").write_text("k = 4\n")
    assert trainer.unfit(task("k = 4\n")) == ""
    problem = trainer.unfit(task("k = 5\n"))
    assert problem.startswith(f"{tmp_path}/specs/small.toml is not there, or another, on ")
    assert problem.endswith("must be on a file system that all machines share, by one path")
    (tmp_path / "specs" / "small.toml").unlink()
    assert trainer.unfit(task("k = 4\n")) == problem
