"""Observers of a run: what they are told, and that the run is the same with them."""

import json
import os
import signal

import numpy as np
import pytest
import torch

import hacore
from hacore.errors import HacoreError, PluginError, RunError
from hacore.machine.files import load_tensors
from hacore.machine.records import FORMAT
from hacore.measure.look import sample
from hacore.train import trainer

PLUGIN = """
import attrs
from hacore.plugin import Component, hookimpl, option

@attrs.frozen(kw_only=True)
class Config:
    fails: str = option("", "the method that raises")
    file: str = option("", "is written to as well")

@hookimpl
def hacore_declare():
    return [Component(kind="observer", name=name, target="fake_logger_part:Recording", config=Config,
                      summary="for a test")
            for name in ("recording", "other")]
"""

# Draws and sets random numbers wherever it can.
LOGGER = """
import torch

from hacore.observers import RunObserver

MADE = []

class Recording(RunObserver):
    def __init__(self, config, observed):
        super().__init__(config, observed)
        self.calls = []
        MADE.append(self)
        self.note("made")

    def note(self, name, *told):
        self.calls.append((name, *told))
        if self.config.file:
            with open(self.config.file, "a") as file:
                print(name, *told[:1], file=file)
        torch.manual_seed(0)
        torch.rand(3)
        if self.config.fails == name:
            raise OSError("the disk is full")

    def train(self, step, values):
        self.note("train", step, dict(values))

    def evaluation(self, step, values, look):
        self.note("evaluation", step, dict(values), look())

    def end(self, result, trained):
        self.note("end", dict(result), trained)

    def fail(self, error):
        self.note("fail", error)

    def close(self):
        self.note("close")
"""


@pytest.fixture
def observers(install):
    """Installs the observers ``recording`` and ``other``; returns those that were made."""
    install("fake_logger", PLUGIN, fake_logger_part=LOGGER)
    import fake_logger_part

    return fake_logger_part.MADE


@pytest.fixture
def run(tmp_path):
    def start(spec, **options):
        return hacore.run(spec, runs=tmp_path / "runs", device="cpu", **options)

    return start


def calls_of(logger):
    return [call[0] for call in logger.calls]


def test_an_observer_is_told_what_metrics_and_result_hold_in_their_order(make_spec, run, observers):
    folder, result = run(make_spec(), log=["recording"])
    (logger,) = observers
    observed = logger.observed
    assert (observed.folder, observed.spec, observed.step) == (folder.path, folder.spec(), 0)
    assert logger.observed.text == folder.spec_file.read_text()
    assert logger.observed.settings["selector.k"] == 6
    assert logger.observed.settings["head.hidden"] == "[16]"
    assert logger.observed.parameters == result["parameters"]
    records = []
    for name, step, values, *_ in logger.calls[1:-2]:
        kind = "eval" if name == "evaluation" else name
        records.append({"kind": kind, "step": step, **values})
    norms = [line.pop("gradient_norm") for line in records if line["kind"] == "train"]
    speeds = [line.pop("questions_per_second") for line in records if line["kind"] == "train"]
    written = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    assert [{**line, "format": FORMAT} for line in records] == written
    assert min(norms) > 0
    assert min(speeds) > 0
    (end, told_result, trained), close = logger.calls[-2:]
    assert (end, told_result, close) == ("end", folder.result(), ("close",))
    assert trained.opened is not None
    assert trained.step == result["checkpoint"]["step"]


def test_the_gradients_norm_is_that_of_the_step_before_it_was_clipped(make_spec, run, observers, monkeypatch):
    clip = torch.nn.utils.clip_grad_norm_
    norms = []

    def spying(parameters, most):
        norms.append(torch.cat([p.grad.flatten() for p in parameters]).norm().item())
        return clip(parameters, most)

    monkeypatch.setattr(trainer.nn.utils, "clip_grad_norm_", spying)
    run(make_spec({"train.steps": 7, "train.clip_norm": 1e-3}), log=["recording"])
    logged = {call[1]: call[2]["gradient_norm"] for call in observers[0].calls if call[0] == "train"}
    assert logged == pytest.approx({3: norms[2], 6: norms[5], 7: norms[6]}, rel=1e-5)


def test_a_look_is_at_the_same_questions_whenever(make_spec, run, observers):
    folder, _ = run(make_spec(), log=["recording"])
    looks = [call[3] for call in observers[0].calls if call[0] == "evaluation"]
    assert len(looks) == 6
    trained = hacore.load(folder, device="cpu")
    dataset = trained.dataset
    asked = dataset.questions("val")
    rows = sample(asked, 256)
    assert sorted(rows.tolist()) == list(range(len(asked)))  # all of this small split
    assert set(asked.type[rows[:6]].tolist()) == set(range(6))
    for look in looks:
        assert look.presence_QN.shape == (len(rows), trained.model.grid[0] * trained.model.grid[1])
        assert look.kept_Q.tolist() == [6] * len(rows)
        assert len(look.examples) == 16
        for row, example in zip(rows, look.examples, strict=False):
            assert np.array_equal(example.image, dataset.images("val")[asked.image[row]])
            assert example.type == dataset.question_types[asked.type[row]]
            assert example.answer == dataset.answers[asked.answer[row]]
            words = asked.words[asked.offsets[row] : asked.offsets[row + 1]]
            assert example.question.replace("?", " ?").split() == [dataset.vocabulary[word] for word in words]
            assert (example.state == "right") == (example.seen.answers[0].answer == example.answer)
    # The last is of the model as it is at the end.
    tensors, _ = load_tensors(folder.last)
    trained.model.load_state_dict(
        {key[6:]: tensor for key, tensor in tensors.items() if key.startswith("model.")}
    )
    for example in looks[-1].examples:
        reply = trained.ask(example.image, example.question)
        assert reply.answer == example.seen.answers[0].answer
        assert [cell.index for cell in reply.kept] == [cell.index for cell in example.seen.kept]


def test_an_example_is_drawn_with_cells_dark_that_were_not_kept(make_spec, run, observers):
    pytest.importorskip("PIL")
    run(make_spec({"train.steps": 1}), log=["recording"])
    (example, *_) = next(call[3] for call in observers[0].calls if call[0] == "evaluation").examples
    drawn = np.asarray(example.draw(side=example.image.shape[1])).transpose(2, 0, 1)
    rows, columns = example.seen.presence.shape
    _, height, width = example.image.shape
    kept = {cell.index for cell in example.seen.kept}
    for y in range(height):
        for x in range(0, width, 7):
            row, column = round(y / (height - 1) * (rows - 1)), round(x / (width - 1) * (columns - 1))
            factor = 1 if row * columns + column in kept else 0.3
            pixel = drawn[:, 10 + y, 10 + x].astype(float)  # within the margin
            assert np.abs(pixel - example.image[:, y, x] * factor).max() <= 0.51


def test_the_run_is_the_same_with_observers_that_draw_random_numbers(
    make_spec, run, observers, uninterrupted, assert_same
):
    folder, _ = run(make_spec(), log=["recording", "other"])
    assert [calls_of(observer)[-1] for observer in observers] == ["close", "close"]
    assert_same(folder, uninterrupted())


@pytest.mark.parametrize("method", ["made", "train", "evaluation", "end", "close"])
def test_an_observer_that_raises_is_named_once_and_told_no_more(
    make_spec, run, observers, uninterrupted, assert_same, caplog, method
):
    folder, _ = run(make_spec(), log={"recording": {"fails": method}, "other": {}})
    assert_same(folder, uninterrupted())
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["observer 'recording' is dropped, the run goes on: OSError: the disk is full"]
    failing, other = observers
    methods = calls_of(failing)
    assert methods.count(method) == 1
    # It is closed, unless it never came to be.
    assert methods[methods.index(method) + 1 :] == ([] if method in ("made", "close") else ["close"])
    assert calls_of(other)[-2:] == ["end", "close"]


def test_nobody_looks_unless_an_observer_asks(make_spec, run, monkeypatch, uninterrupted, assert_same):
    monkeypatch.setattr(trainer, "look_at", lambda *_, **__: pytest.fail("looked"))
    folder, _ = run(make_spec())
    assert_same(folder, uninterrupted())


def test_a_run_that_goes_on_is_logged_from_its_checkpoint(make_spec, run, observers, monkeypatch):
    make_batch, left = trainer.make_batch, iter(range(7, -100, -1))

    def stopping(*arguments):
        if next(left) == 0:
            signal.raise_signal(signal.SIGINT)
        return make_batch(*arguments)

    monkeypatch.setattr(trainer, "make_batch", stopping)
    folder, result = run(make_spec(), log=["recording"])
    assert result is None
    assert calls_of(observers[0])[-1] == "close"
    assert not {"end", "fail"} & set(calls_of(observers[0]))
    hacore.run(make_spec(), resume=folder, device="cpu", log=["recording"])
    assert observers[1].observed.step == 8
    steps = [[call[1] for call in observer.calls if call[0] == "train"] for observer in observers]
    assert steps == [[3, 6], [9, 12, 15, 18, 21, 24]]
    # A finished run is not told of again.
    hacore.run(make_spec(), resume=folder, device="cpu", log=["recording"])
    assert len(observers) == 2


def test_a_failure_is_told_in_one_line(make_spec, run, observers):
    with pytest.raises(RunError) as error:
        run(make_spec({"train.lr": 1e30, "train.clip_norm": 0.0}), log=["recording"])
    assert observers[0].calls[-2:] == [("fail", str(error.value)), ("close",)]
    assert "end" not in calls_of(observers[0])


def test_of_several_processes_one_logs(make_spec, run, observers, tmp_path, monkeypatch):
    site = next(path for path in os.sys.path if path.endswith("site") and str(tmp_path) in path)
    monkeypatch.setenv("PYTHONPATH", site, prepend=os.pathsep)
    file = tmp_path / "told"
    spec = make_spec({"train.processes": 2, "train.steps": 4})
    _, result = run(spec, log={"recording": {"file": str(file)}})
    assert result["training"]["processes"] == 2
    notes = [line.split()[:2] for line in file.read_text().splitlines()]
    assert notes[:4] == [["made"], ["train", "3"], ["train", "4"], ["evaluation", "4"]]
    assert [line[0] for line in notes[4:]] == ["end", "close"]


def test_mistakes_are_told_before_a_folder_is_made(make_spec, names, run, observers, tmp_path):
    with pytest.raises(HacoreError) as error:
        run(make_spec(), log={"recoding": {}, "other": {"fials": "", "file": 3}})
    unknown, key, value = str(error.value).splitlines()
    installed = ", ".join(component.name for component in hacore.registry.registry().of("observer"))
    names(unknown, "observer 'recoding'", "'recording'", f"installed: {installed}")
    names(key, "other.fials:", "unknown", "'fails'", "fails, file")
    names(value, "other.file:", "3", "string")
    assert not (tmp_path / "runs").exists()


def test_an_observer_whose_module_does_not_load_stops_the_run_before_it_begins(
    make_spec, run, install, tmp_path
):
    install("fake_logger", PLUGIN, fake_logger_part="import not_there_at_all\n")
    with pytest.raises(PluginError, match=r"observer 'other'.*fake-logger 1\.0.*fake_logger_part"):
        run(make_spec(), log=["other"])
    assert not (tmp_path / "runs").exists()
