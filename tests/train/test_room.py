"""A step that does not fit the memory is refused, and looking at it changes nothing."""

import math

import pytest

import hacore
from hacore.errors import RunError
from hacore.machine import memory
from hacore.machine.memory import free_memory
from hacore.spec import resolve
from hacore.train import trainer


@pytest.fixture
def spec(small_table):
    """One step of 30 images with 600 questions."""
    train = {"steps": 1, "batch_images": 1000, "threads": 1, "processes": 1}
    return resolve(small_table("large", train=train, eval={"baseline_steps": 0}))


def test_a_step_that_does_not_fit_says_what_it_takes_and_what_to_do(spec, tmp_path, monkeypatch, names):
    monkeypatch.setattr(trainer, "free_memory", lambda: 100_000)
    with pytest.raises(RunError) as caught:
        hacore.run(spec, runs=tmp_path, device="cpu", report=False)
    names(str(caught.value), "GB of memory", "0.0 GB are free", "train.batch_images", "train.accumulate =")


def test_looking_at_the_memory_changes_no_training(spec, tmp_path, monkeypatch):
    losses = []
    for few in (10, 10_000):
        monkeypatch.setattr(trainer, "FEW", few)
        _, result = hacore.run(spec, runs=tmp_path / str(few), device="cpu", report=False)
        losses.append(result.loss)
    assert losses[0] == losses[1]


def test_free_memory_is_that_of_the_machine_or_of_the_container(tmp_path, monkeypatch):
    real = memory.Path
    proc = tmp_path / "proc/meminfo"
    group = tmp_path / "sys/fs/cgroup"
    for folder in (proc.parent, group):
        folder.mkdir(parents=True)
    monkeypatch.setattr(memory, "Path", lambda path: real(f"{tmp_path}{path}"))
    assert free_memory() == math.inf
    proc.write_text("MemTotal: 9000 kB\nMemAvailable: 4000 kB\nSwapFree: 1000 kB\n")
    assert free_memory() == 5000 * 1024
    (group / "memory.stat").write_text("anon 1000000\nfile 3000000\n")
    (group / "memory.max").write_text("max\n")
    assert free_memory() == 5000 * 1024
    (group / "memory.max").write_text("3000000\n")
    assert free_memory() == 2_000_000
