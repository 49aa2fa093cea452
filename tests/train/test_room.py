"""A step that does not fit the memory is refused, and looking at it changes nothing."""

import math

import pytest
import torch

import hacore
from hacore.errors import RunError
from hacore.machine import memory
from hacore.machine.memory import free_memory
from hacore.measure import evaluation
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


GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried"
)
WINDOWS = RuntimeError(
    "alloc_cpu.cpp:88] data. DefaultCPUAllocator: not enough memory: you tried to allocate"
)


def failing(error, calls=0):
    """``predict`` that raises after some calls."""
    done = []

    def predict(*arguments):
        done.append(arguments)
        if len(done) > calls:
            raise error
        return evaluation_predict(*arguments)

    return predict


evaluation_predict = evaluation.predict
SMALL_STEPS = {"train.batch_images": 5, "train.steps": 3}


@pytest.mark.parametrize("error", [GPU, CPU, WINDOWS])
def test_a_step_without_memory_is_told_in_words(spec, tmp_path, monkeypatch, names, error):
    monkeypatch.setattr(trainer, "predict", failing(error, calls=1))
    with pytest.raises(RunError) as caught:
        hacore.run(spec, SMALL_STEPS, runs=tmp_path, device="cpu", report=False)
    text = str(caught.value)
    assert "\n" not in text
    names(text, "step 2", "train.batch_images = 5", "100 questions", "cpu", "out of memory")
    names(text, "lower train.batch_images", "train.accumulate", "train.precision", "fewer cells")
    assert caught.value.__cause__ is error
    (folder,) = (tmp_path / "large").iterdir()
    assert (folder / "error.txt").read_text() == text


@pytest.mark.parametrize("error", [GPU, CPU, WINDOWS])
def test_an_evaluation_without_memory_is_told_in_words(spec, tmp_path, monkeypatch, names, error):
    monkeypatch.setattr(evaluation, "predict", failing(error))
    changes = {**SMALL_STEPS, "eval.batch_images": 3}
    with pytest.raises(RunError) as caught:
        hacore.run(spec, changes, runs=tmp_path, device="cpu", report=False)
    text = str(caught.value)
    names(text, "split val", "eval.batch_images = 3", "60 questions", "cpu", "out of memory")
    names(text, "lower eval.batch_images", "--device cpu")


def test_other_errors_of_torch_stay_as_they_are(spec, tmp_path, monkeypatch):
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    monkeypatch.setattr(trainer, "predict", failing(error))
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        hacore.run(spec, SMALL_STEPS, runs=tmp_path, device="cpu", report=False)
    assert caught.value is error
