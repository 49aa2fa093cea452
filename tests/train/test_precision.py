"""A run is trained, resumed and used in one precision, which its files name."""

import json
import signal

import attrs
import numpy as np
import pytest
import torch
from hacore_l2_topk.l2_topk import L2TopK

import hacore
from hacore.console import Silent
from hacore.data import Dataset
from hacore.machine.files import load_tensors, save_tensors
from hacore.measure.metrics import Meter
from hacore.spec import dump_spec
from hacore.train import trainer
from hacore.train.reporting import ConsoleReporter
from hacore.workflow import run as run_spec

AUTO = {"train.precision": "auto", "train.epochs": 1}
CHOICES = {True: "bfloat16", False: "float32"}
"""By whether the processor has instructions for bfloat16."""
FAST = pytest.mark.parametrize("fast", [True, False], ids=["with-instructions", "without"])


class Notes(ConsoleReporter):
    """Keeps the lines that a person would read."""

    def __init__(self):
        super().__init__(Silent())
        self.messages = []

    def message(self, text):
        self.messages.append(text)

    @property
    def precision(self):
        """The one line about it."""
        (line,) = [text for text in self.messages if text.startswith("precision: ")]
        return line


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def interrupted(make_spec, tmp_path, monkeypatch):
    """The folder of a run with precision "auto" that was stopped at step 5."""

    def stop():
        count = iter(range(1, 100))
        make_batch = trainer.make_batch

        def counting(*arguments):
            if next(count) == 5:
                signal.raise_signal(signal.SIGINT)
            return make_batch(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "make_batch", counting)
            folder, result = run_spec(make_spec(AUTO), runs=tmp_path / "runs", device="cpu")
        assert result is None
        return folder

    return stop


@FAST
def test_every_record_names_it(make_spec, cpu_multiplies_bfloat16, tmp_path, notes, names, fast):
    cpu_multiplies_bfloat16(fast)
    folder, result = run_spec(make_spec(AUTO), runs=tmp_path, device="cpu", reporter=notes)
    assert folder.spec().train.precision == "auto"
    assert json.loads(folder.environment_file.read_text())["precision"] == CHOICES[fast]
    assert {load_tensors(path)[1]["precision"] for path in (folder.last, folder.best)} == {CHOICES[fast]}
    assert result.training.precision == CHOICES[fast]
    assert json.loads(folder.result_file.read_text())["training"]["precision"] == CHOICES[fast]
    names(notes.precision, CHOICES[fast], "auto")


@pytest.mark.parametrize("precision", CHOICES.values())
def test_a_precision_that_the_spec_names_needs_no_line(make_spec, tmp_path, notes, precision):
    changes = AUTO | {"train.precision": precision, "train.steps": 1}
    _, result = run_spec(make_spec(changes), runs=tmp_path, device="cpu", reporter=notes)
    assert result.training.precision == precision
    assert not [text for text in notes.messages if "precision" in text]


@FAST
def test_resuming_keeps_it_on_a_machine_that_would_choose_otherwise(
    make_spec, cpu_multiplies_bfloat16, interrupted, assert_same, tmp_path, notes, names, fast
):
    cpu_multiplies_bfloat16(fast)
    whole, _ = run_spec(make_spec(AUTO), runs=tmp_path / "whole", device="cpu")
    folder = interrupted()
    cpu_multiplies_bfloat16(not fast)
    _, result = run_spec(make_spec(AUTO), resume=folder, device="cpu", reporter=notes)
    assert result.training.precision == CHOICES[fast]
    assert_same(folder, whole)
    names(notes.precision, CHOICES[fast], "here", "auto", CHOICES[not fast])


def test_a_checkpoint_of_an_earlier_version_goes_on_as_it_did(
    make_spec, cpu_multiplies_bfloat16, interrupted, assert_same, tmp_path, notes, names
):
    """It does not say its precision, which was float32 on every CPU."""
    cpu_multiplies_bfloat16(False)
    whole, _ = run_spec(make_spec(AUTO), runs=tmp_path / "whole", device="cpu")
    folder = interrupted()
    for path in (folder.last, folder.best):
        if path.is_file():
            tensors, state = load_tensors(path)
            del state["precision"]
            save_tensors(path, tensors, state)
    cpu_multiplies_bfloat16(True)
    run_spec(make_spec(AUTO), resume=folder, device="cpu", reporter=notes)
    assert_same(folder, whole)
    names(notes.precision, "float32", "here", "auto", "bfloat16")


@FAST
def test_a_finished_run_is_used_in_it_on_any_machine(make_spec, cpu_multiplies_bfloat16, cli, tmp_path, fast):
    """Measured and asked again, it gives what was recorded, to the last digit."""
    cpu_multiplies_bfloat16(fast)
    folder, result = run_spec(make_spec(AUTO), runs=tmp_path, device="cpu")
    recorded = folder.predictions_file("test").read_bytes()
    cpu_multiplies_bfloat16(not fast)
    trained = hacore.load(folder, device="cpu")
    assert trained.precision == getattr(torch, CHOICES[fast])
    assert trained.with_selector(k=3).precision == trained.precision
    ran = cli("eval", folder.path, "--device", "cpu", "--json")
    measured = json.loads(ran.out)
    for key in ("loss", "accuracy", "by_type", "multiply_adds"):
        assert measured[key] == result[key]
    assert folder.predictions_file("test").read_bytes() == recorded

    image = np.asarray(trained.dataset.images("test")[0]).transpose(1, 2, 0)
    question = "is the red object on the left?"
    answers = trained.ask(image, question).answers
    cpu_multiplies_bfloat16(fast)
    assert hacore.load(folder, device="cpu").ask(image, question).answers == answers


def test_the_model_of_an_earlier_version_is_used_as_before(make_spec, cpu_multiplies_bfloat16, tmp_path):
    cpu_multiplies_bfloat16(False)
    folder, _ = run_spec(make_spec(AUTO), runs=tmp_path, device="cpu")
    tensors, state = load_tensors(folder.best)
    del state["precision"]
    save_tensors(folder.best, tensors, state)
    cpu_multiplies_bfloat16(True)
    assert hacore.load(folder, device="cpu").precision == torch.float32


@FAST
def test_check_says_what_auto_is_here(cli, make_spec, cpu_multiplies_bfloat16, tmp_path, names, fast):
    cpu_multiplies_bfloat16(fast)
    path = tmp_path / "spec.toml"
    path.write_text(dump_spec(make_spec(AUTO)))
    expected = "bfloat16" if torch.cuda.is_available() else CHOICES[fast]
    assert json.loads(cli("check", path, "--json").out)["precision"] == expected
    (line,) = [line for line in cli("check", path).out.splitlines() if line.startswith("precision")]
    names(line, expected, "on this machine")


def test_losses_and_sums_of_a_step_are_float32(make_spec, tmp_path, monkeypatch):
    """The dataset's loss, the selector's own, which comes in bfloat16, and what the meter is given."""
    forward, dataset_loss, add = L2TopK.forward, Dataset.loss, Meter.add
    own, losses, totals = [], [], []

    def with_loss(self, cells, question):
        selection = forward(self, cells, question)
        own.append(selection.features_QKC.square().mean())
        return attrs.evolve(selection, loss=own[-1])

    def watched_loss(self, logits_QA, batch):
        assert not torch.is_autocast_enabled("cpu")
        assert logits_QA.dtype == torch.float32
        losses.append(dataset_loss(self, logits_QA, batch))
        return losses[-1]

    def watched_add(self, output, loss_sum, batch):
        assert loss_sum.dtype == torch.float32
        assert self._dataset.score(output.logits_QA, batch).dtype == torch.float32
        assert self.sums.dtype == torch.float64
        add(self, output, loss_sum, batch)

    backward = torch.Tensor.backward

    def watched_backward(self, *arguments, **options):
        totals.append((self.detach().clone(), losses[-1].detach(), own[-1].detach()))
        backward(self, *arguments, **options)

    monkeypatch.setattr(L2TopK, "forward", with_loss)
    monkeypatch.setattr(Dataset, "loss", watched_loss)
    monkeypatch.setattr(Meter, "add", watched_add)
    monkeypatch.setattr(torch.Tensor, "backward", watched_backward)
    changes = {"train.precision": "bfloat16", "train.steps": 3, "eval.baseline_steps": 0}
    run_spec(make_spec(changes), runs=tmp_path, device="cpu")
    assert len(totals) == 3
    for total, loss, loss_of_selector in totals:
        assert loss_of_selector.dtype == torch.bfloat16
        assert total.dtype == loss.dtype == torch.float32
        questions = 4 * 20
        expected = loss.double() / questions + loss_of_selector.double()
        torch.testing.assert_close(total.double(), expected, rtol=1e-6, atol=0)
