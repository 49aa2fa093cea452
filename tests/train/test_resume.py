"""A run that was stopped in any way and resumed leaves what the uninterrupted run leaves."""

import json
import multiprocessing
import random
import signal
import time

import pytest

import hacore
from hacore.errors import RunError
from hacore.machine.files import load_tensors
from hacore.model import opening
from hacore.train import trainer
from hacore.workflow import run as run_spec
from hacore.workflow import running


class Killed(BaseException):
    """Stands for a death of the process that runs no clean-up of ours."""


def at_call(monkeypatch, module, name, number, action):
    """Do something when a function is called for the ``number``-th time, from 1."""
    function = getattr(module, name)
    count = iter(range(1, 10**6))

    def counting(*arguments, **options):
        if next(count) == number:
            action()
        return function(*arguments, **options)

    monkeypatch.setattr(module, name, counting)


def kill():
    raise Killed


@pytest.fixture
def start(tmp_path):
    """start(spec) -> (folder, result) of a run that is stopped somehow."""

    def go(spec):
        folders = []
        try:
            return run_spec(spec, runs=tmp_path / "runs", device="cpu", created=folders.append)
        except Killed:
            return folders[0], None

    return go


def leftovers(folder):
    return [path.name for path in folder.path.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("step", [1, 2, 6, 8, 12, 23])
def test_interrupted_after_any_step(make_spec, start, uninterrupted, assert_same, monkeypatch, step):
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", step, lambda: signal.raise_signal(signal.SIGINT))
        folder, result = start(make_spec())
    assert result is None
    assert not folder.result_file.exists()
    assert load_tensors(folder.last)[1]["step"] == step
    run_spec(make_spec(), resume=folder, device="cpu")
    assert_same(folder, uninterrupted())
    assert leftovers(folder) == []


@pytest.mark.parametrize(
    ("precision", "optimizer"), [("float32", "adam"), ("bfloat16", "adam"), ("bfloat16", "muon")]
)
def test_interrupted_twice_with_rectified_options(
    make_spec, start, uninterrupted, assert_same, monkeypatch, precision, optimizer
):
    changes = {
        "train.precision": precision,
        "train.optimizer": optimizer,
        "train.questions_per_image": 7,
        "train.shift": 2,
        "train.rotation": 0.05,
        "train.average": 0.8,
        "train.steps": 20,
        "image_encoder.norm": "group",
        "image_encoder.groups": 2,
        "aggregator": {"use": "rn", "width": 8},
    }
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 7, lambda: signal.raise_signal(signal.SIGTERM))
        folder, _ = start(make_spec(changes))
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 4, lambda: signal.raise_signal(signal.SIGTERM))
        run_spec(make_spec(changes), resume=folder, device="cpu")
    assert load_tensors(folder.last)[1]["step"] == 11
    run_spec(make_spec(changes), resume=folder, device="cpu")
    assert_same(folder, uninterrupted(changes))


@pytest.mark.parametrize("step", [1, 5, 7, 24])
def test_killed_in_any_step(make_spec, start, uninterrupted, assert_same, monkeypatch, step):
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", step, kill)
        folder, _ = start(make_spec())
    assert folder.last.exists() == (step > 4)
    run_spec(make_spec(), resume=folder, device="cpu")
    assert_same(folder, uninterrupted())


@pytest.mark.parametrize("write", range(3, 17, 2))
def test_killed_in_any_write(make_spec, start, uninterrupted, assert_same, monkeypatch, write):
    """The first two writes make the folder; then come inputs, checkpoints, predictions and the result."""
    with monkeypatch.context() as patch:
        at_call(patch, hacore.machine.files.os, "replace", write, kill)
        folder, result = start(make_spec())
    assert result is None
    for path in (folder.last, folder.best):
        if path.exists():
            load_tensors(path)
    run_spec(make_spec(), resume=folder, device="cpu")
    assert_same(folder, uninterrupted())


def test_patience_counts_on(make_spec, start, uninterrupted, assert_same, monkeypatch):
    # A rate too small to change any answer: the first evaluation stays the best.
    changes = {"train.lr": 1e-12, "train.patience": 4, "train.epochs": 10, "image_encoder.norm": "off"}
    assert uninterrupted(changes).result()["training"]["steps"] == 20
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 14, lambda: signal.raise_signal(signal.SIGINT))
        folder, _ = start(make_spec(changes))
    assert load_tensors(folder.last)[1]["stale"] == 2
    run_spec(make_spec(changes), resume=folder, device="cpu")
    assert_same(folder, uninterrupted(changes))


def test_seconds_go_on_and_count_training_alone(make_spec, start, monkeypatch):
    clock = iter(float(second) for second in range(10**6))
    with monkeypatch.context() as patch:
        patch.setattr(trainer.time, "monotonic", lambda: next(clock))
        at_call(patch, trainer, "make_batch", 11, lambda: signal.raise_signal(signal.SIGINT))
        folder, _ = start(make_spec())
    before = load_tensors(folder.last)[1]["seconds"]
    assert before > 10
    _, result = run_spec(make_spec(), resume=folder, device="cpu")
    assert before <= result["training"]["seconds"] < before + 60
    seconds = [json.loads(line)["seconds"] for line in folder.metrics_file.read_text().splitlines()]
    assert seconds == sorted(seconds)
    # The best checkpoint was written at its own evaluation, the last one after it.
    best = load_tensors(folder.best)[1]
    assert best["seconds"] <= load_tensors(folder.last)[1]["seconds"]
    assert best["metrics_bytes"] > 0


def test_a_run_that_was_trained_to_the_end_is_only_measured(
    make_spec, start, uninterrupted, assert_same, monkeypatch
):
    with monkeypatch.context() as patch:
        at_call(patch, running, "measure", 1, kill)
        folder, _ = start(make_spec())
    trained = load_tensors(folder.last)[1]["seconds"]
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 1, lambda: pytest.fail("trained again"))
        _, result = run_spec(make_spec(), resume=folder, device="cpu")
    assert result["training"]["seconds"] == round(trained, 1)
    assert_same(folder, uninterrupted())


def test_a_finished_run_gives_its_result_again_at_once(make_spec, start, monkeypatch):
    folder, result = start(make_spec({"train.steps": 2}))
    messages = []
    reporter = trainer.Reporter
    monkeypatch.setattr(opening, "open_dataset", lambda use: pytest.fail("opened the data again"))

    class Notes(reporter):
        def message(self, text):
            messages.append(text)

    again, outcome = run_spec(make_spec({"train.steps": 2}), resume=folder, device="cpu", reporter=Notes())
    assert again.path == folder.path
    assert outcome == result
    assert messages == [f"finished already; measure the model again with: hacore eval {folder.path}"]


def test_resuming_with_another_spec_or_other_data_is_refused(make_spec, names, start, monkeypatch):
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 3, lambda: signal.raise_signal(signal.SIGINT))
        folder, _ = start(make_spec())
    before = folder.last.read_bytes(), folder.metrics_file.read_bytes()
    for changes, parts in (
        ({"train.lr": 0.02}, ["another spec", "lr = 0.02", "resume without a spec"]),
        ({"seed": 4}, ["another spec", "seed = 4", "resume without a spec"]),
        ({"data.data_seed": 1}, ["other data", "--set data.KEY=VALUE", "afresh"]),
    ):
        with pytest.raises(RunError) as caught:
            run_spec(make_spec(changes), resume=folder, device="cpu")
        names(str(caught.value), f"{folder.path}:", *parts)
    assert before == (folder.last.read_bytes(), folder.metrics_file.read_bytes())


@pytest.mark.parametrize("put", [lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere")])
def test_a_checkpoint_that_is_no_file_is_no_reason_to_begin_anew(make_spec, names, start, monkeypatch, put):
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 8, lambda: signal.raise_signal(signal.SIGINT))
        folder, _ = start(make_spec())
    folder.last.unlink()
    put(folder.last)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError) as caught:
        run_spec(make_spec(), resume=folder, device="cpu")
    names(str(caught.value), f"{folder.last}:", "checkpoint")
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_metrics_that_lost_their_end_are_not_filled_with_zeros(make_spec, start, monkeypatch):
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 8, lambda: signal.raise_signal(signal.SIGINT))
        folder, _ = start(make_spec())
    folder.metrics_file.unlink()
    run_spec(make_spec(), resume=folder, device="cpu")
    steps = [json.loads(line)["step"] for line in folder.metrics_file.read_text().splitlines()]
    assert steps[0] == 9


def test_half_written_files_of_a_killed_process_go_away(make_spec, start, monkeypatch):
    with monkeypatch.context() as patch:
        at_call(patch, trainer, "make_batch", 6, kill)
        folder, _ = start(make_spec())
    (folder.last.with_name(".last.safetensors.123.tmp")).write_bytes(b"half")
    (folder.path / ".result.json.123.tmp").write_bytes(b"{")
    run_spec(make_spec(), resume=folder, device="cpu")
    assert leftovers(folder) == []


def killed_at_random(spec, uninterrupted_seconds, runs, kills, seed):
    """The folder of a run that was killed so many times, the number that hit, and went on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hacore.workflow"])
    random_ = random.Random(seed)

    def session(resume):
        return context.Process(
            target=run_spec, args=(spec,), kwargs={"runs": runs, "resume": resume, "device": "cpu"}
        )

    folder, hits = None, 0
    for _ in range(kills):
        process = session(folder)
        process.start()
        while process.is_alive() and folder is None:
            folders = list(runs.glob("*/[0-9]*"))
            folder = hacore.RunFolder.open(folders[0]) if folders else None
            time.sleep(0.001)
        process.join(random_.random() * uninterrupted_seconds)
        hits += process.is_alive()
        process.kill()
        process.join()
        process.close()
    last = session(folder)
    last.start()
    last.join()
    assert last.exitcode == 0
    return folder, hits


def check_kills(make_spec, uninterrupted, assert_same, runs, kills, seed, precision):
    changes = {
        "train.checkpoint_steps": 1,
        "train.log_steps": 1,
        "train.precision": precision,
        "eval.every_epochs": 0.25,
        "aggregator": {"use": "rn", "width": 8},
    }
    reference = uninterrupted(changes)
    seconds = reference.result()["training"]["seconds"]
    folder, hits = killed_at_random(make_spec(changes), 1.5 * seconds, runs, kills, seed)
    assert hits > 0
    assert_same(folder, reference)
    assert leftovers(folder) == []


PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"])


@PRECISIONS
def test_killed_twice_at_random(make_spec, uninterrupted, assert_same, tmp_path, precision):
    check_kills(make_spec, uninterrupted, assert_same, tmp_path, 2, 0, precision)


@pytest.mark.slow
@PRECISIONS
@pytest.mark.parametrize("seed", range(1, 11))
def test_killed_at_random_ten_times_out_of_ten(
    make_spec, uninterrupted, assert_same, tmp_path, seed, precision
):
    check_kills(make_spec, uninterrupted, assert_same, tmp_path, 6, seed, precision)
