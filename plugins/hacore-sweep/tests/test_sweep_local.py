"""Where runs work: cores, GPUs, and how many at a time."""

import os
import re
import sys

import attrs
import pytest
import torch
from hacore_sweep import run_sweep
from hacore_sweep._folder import SweepFolder
from hacore_sweep._local import slots

from hacore.errors import HacoreError
from hacore.machine.threads import SHORT, WAITING


@pytest.fixture
def specs(sweep):
    return [combination.spec for combination in sweep("[sweep]\nselector.k = [4, 5]").combinations]


@pytest.fixture
def machine(monkeypatch):
    """machine(cores, gpus, visible) is a machine that has these."""

    def run(cores, gpus=0, visible=None):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return run


def having(specs, **train):
    return [attrs.evolve(spec, train=attrs.evolve(spec.train, **train)) for spec in specs]


def test_one_run_for_each_core_with_one_thread(specs, machine):
    machine(cores=6)
    all_slots = slots("auto", specs, None)
    assert [slot.device for slot in all_slots] == ["cpu"] * 6
    assert all_slots[0].environment == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert len(slots("cpu", having(specs, threads=4), None)) == 1
    assert len(slots("cpu", having(specs, threads=2, processes=2), None)) == 1
    assert len(slots("cpu", having(specs, threads=1, processes=3), None)) == 2
    assert len(slots("cpu", having(specs, threads=None), None)) == 6
    # Processes without a number of threads share all cores among them.
    assert len(slots("cpu", having(specs, threads=None, processes=3), None)) == 1
    assert len(slots("cpu", having(specs, threads=8), None)) == 1
    assert len(slots("cpu", specs, 9)) == 9


def test_threads_that_the_user_chose_stay(specs, machine, monkeypatch):
    machine(cores=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert slots("cpu", specs, 1)[0].environment["OMP_NUM_THREADS"] == "3"


def test_one_run_for_each_gpu(specs, machine):
    machine(cores=2, gpus=3)
    all_slots = slots("auto", specs, None)
    assert [(slot.device, slot.environment["CUDA_VISIBLE_DEVICES"]) for slot in all_slots] == [
        ("cuda", "0"),
        ("cuda", "1"),
        ("cuda", "2"),
    ]
    shared = slots("cuda", specs, 5)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in shared] == ["0", "1", "2", "0", "1"]
    assert {slot.device for slot in slots("cpu", specs, 4)} == {"cpu"}


def test_runs_of_several_processes_get_as_many_gpus(specs, machine):
    machine(cores=2, gpus=5)
    all_slots = slots("auto", having(specs, processes=2), None)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in all_slots] == ["0,1", "2,3"]
    machine(cores=2, gpus=1)
    all_slots = slots("auto", having(specs, processes=2), None)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in all_slots] == ["0"]


def test_gpus_are_those_that_the_user_left_visible(specs, machine):
    machine(cores=2, gpus=2, visible="3,GPU-abc")
    all_slots = slots("auto", specs, None)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in all_slots] == ["3", "GPU-abc"]


def test_a_gpu_may_be_named(specs, machine):
    machine(cores=2, gpus=2)
    assert [slot.device for slot in slots("cuda:1", specs, None)] == ["cuda:1"]
    assert [slot.device for slot in slots("cuda:1", specs, 2)] == ["cuda:1"] * 2


def test_a_device_that_is_not_there_is_refused(specs, machine):
    machine(cores=2)
    with pytest.raises(HacoreError, match=r"'gpu'.*auto, cpu, cuda, cuda:INDEX or mps"):
        slots("gpu", specs, None)
    if not torch.cuda.is_available():
        with pytest.raises(HacoreError, match="device 'cuda' cannot be used"):
            slots("cuda", specs, None)


def test_a_system_without_inherited_locks_runs_its_sweep_without(tmp_path, monkeypatch):
    with SweepFolder(tmp_path / "sweep").locked() as descriptor:
        assert isinstance(descriptor, int)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with SweepFolder(tmp_path / "sweep").locked() as descriptor:
        assert descriptor is None


def test_threads_of_the_runs_sleep_while_they_wait(sweep, monkeypatch):
    """Also of a sweep that a program starts, whose own threads stay as they are; OpenMP says so itself."""
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    folder, _ = run_sweep(sweep("[sweep]\nseeds = [0]"), device="cpu")
    (log,) = (folder.path / "logs").iterdir()
    counts = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", log.read_text())
    if not counts:
        pytest.skip("torch has another OpenMP than libgomp")
    assert set(counts) == {SHORT["GOMP_SPINCOUNT"]}
    assert not any(name in os.environ for name in WAITING)
