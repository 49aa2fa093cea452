"""``train.init``: a training that starts from the weights of another run."""

import json
import shutil
import signal

import pytest
import torch

import hacore
from hacore.errors import RunError, SpecError
from hacore.machine.files import load_tensors, save_tensors
from hacore.model.weights import model_weights, named
from hacore.runs.data_summary import DataSummary
from hacore.train import trainer
from hacore.train.reporting import Reporter
from hacore.train.start import start_from

EARLIER = {"train.steps": 8, "train.average": 0.8, "eval.baseline_steps": 0}
"""With a running mean, so that the best weights are not the last."""


@pytest.fixture
def first(uninterrupted, tmp_path):
    """A copy of a finished run, to start from and to be spoilt."""
    shutil.copytree(uninterrupted(EARLIER).path, tmp_path / "first")
    return hacore.RunFolder(tmp_path / "first")


@pytest.fixture
def start(make_spec, first):
    """start(changes) -> (model, the fresh model's weights, what was said); the spec names ``first``."""

    def run(changes=()):
        spec = make_spec({"train.init": str(first.path), "seed": 8, **dict(changes)})
        dataset = hacore.open_dataset(spec.data)
        torch.manual_seed(spec.seed)
        model = hacore.compose(spec, dataset.sizes())
        fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return model, fresh, start_from(model, spec.train, DataSummary.of(dataset))

    return run


def best(folder):
    return model_weights(load_tensors(folder.best)[0])


def differing(one, other):
    return {name for name in one if not torch.equal(one[name], other[name])}


def edit_inputs(folder, **values):
    table = json.loads(folder.inputs_file.read_text())
    folder.inputs_file.write_text(json.dumps({**table, **values}))


def test_all_weights_are_those_of_the_run_s_best(start, first):
    model, fresh, message = start()
    weights = best(first)
    assert differing(model.state_dict(), weights) == set()
    assert len(differing(fresh, weights)) > 10
    assert differing(model_weights(load_tensors(first.last)[0]), weights)
    assert message == f"started from {first.path}: {len(weights)} of {len(weights)} tensors"


def test_a_frozen_part_keeps_the_weights_that_its_own_options_name(start, first, tmp_path):
    """Stored features are those of these weights; the run that is started from had others."""
    shutil.copytree(first.path, tmp_path / "encoder")
    tensors, state = load_tensors(first.best)
    tensors["model.image_encoder.layers.0.weight"] += 1
    save_tensors(first.best, tensors, state)
    frozen = {"image_encoder.weights": str(tmp_path / "encoder"), "image_encoder.frozen": True}
    model, fresh, message = start(frozen)
    weights, own = best(first), model.state_dict()
    kept = {name for name in own if name.startswith("image_encoder.")}
    assert differing({name: own[name] for name in kept}, fresh) == set()
    assert differing({name: own[name] for name in kept}, weights) == {"image_encoder.layers.0.weight"}
    assert differing({name: own[name] for name in own.keys() - kept}, weights) == set()
    assert "the image_encoder is frozen" in message
    # Where it is asked for, it is taken.
    model, _, message = start({**frozen, "train.init_parts": ["image_encoder"]})
    assert differing({name: model.state_dict()[name] for name in kept}, weights) == set()
    assert "is frozen" not in message


def test_only_the_parts_that_are_asked_for(start, first):
    model, fresh, message = start({"train.init_parts": ["image_encoder", "fuser"]})
    weights, own = best(first), model.state_dict()
    taken = {name for name in own if name.split(".")[0] in ("image_encoder", "fuser")}
    assert taken
    assert differing({name: own[name] for name in taken}, weights) == set()
    assert differing({name: own[name] for name in own.keys() - taken}, fresh) == set()
    assert differing(fresh, weights) - taken
    assert message == f"started from {first.path}: {len(taken)} of {len(own)} tensors"


def test_what_has_another_shape_is_named_and_left_as_it_was(start, first):
    model, fresh, message = start({"head.hidden": [24]})
    weights, own = best(first), model.state_dict()
    misfits = {"head.0.weight", "head.0.bias", "head.3.weight"}
    assert differing({name: own[name] for name in misfits}, fresh) == set()
    assert differing({name: own[name] for name in own.keys() - misfits}, weights) == set()
    assert f"{len(own) - 3} of {len(own)} tensors; did not fit: " in message
    assert "head.0.weight (16x8 there, 24x8 here)" in message
    assert "head.0.bias (16 there, 24 here)" in message
    assert "head.3.weight (10x16 there, 10x24 here)" in message
    assert "head.3.bias" not in message


def test_as_many_numbers_in_another_shape_do_not_fit(start, first):
    tensors, state = load_tensors(first.best)
    tensors["model.head.0.weight"] = tensors["model.head.0.weight"].t().contiguous()
    hacore.machine.files.save_tensors(first.best, tensors, state)
    assert start()[2].endswith("; did not fit: head.0.weight (8x16 there, 16x8 here)")


def test_what_only_one_of_them_has_is_named(start):
    _, _, message = start({"fuser": {"use": "add", "width": 8}})
    assert "(only there)" in message
    assert "(only here)" in message
    assert "image_encoder" not in message.partition("did not fit")[2]


def test_many_misfits_are_counted(start):
    _, _, message = start(
        {"image_encoder.channels": [8, 12], "question_encoder.hidden": 16, "head.hidden": [24, 24]}
    )
    listed = message.partition("did not fit: ")[2]
    assert listed.count("(") == 8
    more = int(listed.rpartition(" and ")[2].removesuffix(" more"))
    assert more > 0


@pytest.mark.parametrize(
    ("changed", "part", "reason"),
    [
        ("vocabulary", "question_encoder", "other words, 27 there"),
        ("answers", "head", "other answers, 10 there"),
    ],
)
def test_other_words_and_answers_do_not_fit_whatever_the_shapes(start, first, changed, part, reason):
    words = json.loads(first.inputs_file.read_text())[changed]
    edit_inputs(first, **{changed: [*words[:-1], "zebra"]})
    model, fresh, message = start()
    weights, own = best(first), model.state_dict()
    theirs = {name for name in own if name.split(".")[0] == part}
    assert theirs
    assert differing({name: own[name] for name in theirs}, fresh) == set()
    assert differing({name: own[name] for name in own.keys() - theirs}, weights) == set()
    assert message.count(f"({reason})") == len(theirs)
    # Where they are asked for it is an error, where others are it is none.
    with pytest.raises(RunError) as caught:
        start({"train.init_parts": ["fuser", part]})
    assert f"({reason})" in str(caught.value)
    assert "fuser." not in str(caught.value)
    start({"train.init_parts": ["fuser"]})


def test_words_and_answers_in_another_order_are_others(start, first):
    words = json.loads(first.inputs_file.read_text())["answers"]
    edit_inputs(first, answers=words[::-1])
    assert "(other answers, 10 there)" in start()[2]


def test_a_part_that_is_asked_for_and_does_not_fit_is_an_error(start, names, first):
    with pytest.raises(RunError) as caught:
        start({"train.init_parts": ["image_encoder", "head"], "head.hidden": [24]})
    message = str(caught.value)
    names(message, f"train.init = {str(first.path)!r}:", "head.0.bias (16 there, 24 here)")
    names(message, "24x8 here", "train.init_parts")
    assert "image_encoder." not in message


def test_where_nothing_fits_it_is_an_error(start, first):
    tensors = load_tensors(first.best)
    foreign = {name: torch.zeros(3, 1, 3) for name in tensors[0] if name.startswith("model.")}
    hacore.machine.files.save_tensors(first.best, foreign, tensors[1])
    with pytest.raises(RunError, match="does not fit: ") as caught:
        start()
    assert "3x1x3 there" in str(caught.value)
    assert "more" in str(caught.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_does_not_fit_leaves_no_run_folder(make_spec, first, tmp_path, processes):
    changes = {"train.init_parts": ["head"], "head.hidden": [24], "train.processes": processes}
    spec = make_spec({"train.init": str(first.path), **changes})
    with pytest.raises(RunError, match="does not fit"):
        hacore.run(spec, runs=tmp_path / "runs", device="cpu")
    assert not list(tmp_path.glob("runs/**/*"))


def test_a_folder_of_runs_stands_for_its_newest_finished_one(start, first, tmp_path):
    for name in ("20260101-120000-aaaaaa", "20260102-120000-aaaaaa", "20260103-120000-aaaaaa"):
        shutil.copytree(first.path, tmp_path / "runs" / name)
    (tmp_path / "runs" / "20260103-120000-aaaaaa" / "result.json").unlink()
    message = start({"train.init": str(tmp_path / "runs")})[2]
    assert message.startswith(f"started from {tmp_path / 'runs' / '20260102-120000-aaaaaa'}: ")


@pytest.mark.parametrize("missing", ["folder", "checkpoints"])
def test_what_is_no_run_is_an_error_that_names_it(start, first, missing):
    shutil.rmtree(first.path if missing == "folder" else first.path / "checkpoints")
    with pytest.raises(RunError) as caught:
        start()
    assert str(first.path) in str(caught.value)


def test_a_run_of_before_inputs_were_written_is_taken_at_its_shapes(start, first):
    first.inputs_file.unlink()
    assert "did not fit" not in start()[2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.init_parts": ["head"]}, "init_parts"),
        ({"train.init": "runs/x", "train.init_parts": ["heads"]}, "head"),
        ({"train.init": ""}, "init"),
    ],
)
def test_specs_that_make_no_sense(make_spec, changes, words):
    with pytest.raises(SpecError) as caught:
        make_spec(changes)
    assert words in str(caught.value)
    assert "train" in str(caught.value)


class Notes(Reporter):
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)


STILL = {
    # Too small a rate to move a weight by more than rounding, and no statistics that move by themselves.
    "train.lr": 1e-12,
    "train.steps": 2,
    "image_encoder.norm": "off",
    "fuser": {"use": "add", "width": 8},
    "eval.baseline_steps": 0,
}


def test_a_run_begins_with_these_weights_and_says_so(make_spec, uninterrupted, tmp_path):
    begun = uninterrupted({**STILL, "train.lr": 0.01, "train.steps": 8})
    notes = Notes()
    folder, _ = hacore.run(
        make_spec({**STILL, "seed": 8, "train.init": str(begun.path)}),
        runs=tmp_path,
        device="cpu",
        reporter=notes,
    )
    alone, _ = hacore.run(make_spec({**STILL, "seed": 8}), runs=tmp_path, device="cpu")
    weights = best(begun)
    assert f"started from {begun.path}: {len(weights)} of {len(weights)} tensors" in notes.said
    for name, tensor in best(folder).items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-6, rtol=0)
    assert not torch.allclose(best(alone)["head.0.weight"], weights["head.0.weight"], atol=1e-3)


def test_it_is_not_applied_again_when_the_run_goes_on(make_spec, first, assert_same, tmp_path, monkeypatch):
    spec = make_spec({"train.init": str(first.path), "train.steps": 10, "seed": 8})
    whole, _ = hacore.run(spec, runs=tmp_path / "whole", device="cpu")
    count = iter(range(1, 10**6))
    make_batch = trainer.make_batch

    def counting(*arguments):
        if next(count) == 4:
            signal.raise_signal(signal.SIGINT)
        return make_batch(*arguments)

    folders = []
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "make_batch", counting)
        hacore.run(spec, runs=tmp_path / "stopped", device="cpu", created=folders.append)
    (folder,) = folders
    assert load_tensors(folder.last)[1]["step"] == 4
    shutil.rmtree(first.path)  # nobody reads it any more
    notes = Notes()
    hacore.run(spec, resume=folder, device="cpu", reporter=notes)
    assert not any("started from" in text for text in notes.said)
    assert_same(folder, whole)


def test_a_run_that_stopped_before_its_first_checkpoint_starts_from_it_again(
    make_spec, first, assert_same, tmp_path, monkeypatch
):
    spec = make_spec({"train.init": str(first.path), "train.steps": 6, "seed": 8})
    whole, _ = hacore.run(spec, runs=tmp_path / "whole", device="cpu")
    folders = []

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "make_batch", kill)
        with pytest.raises(KeyboardInterrupt):
            hacore.run(spec, runs=tmp_path / "stopped", device="cpu", created=folders.append)
    (folder,) = folders
    assert not folder.last.exists()
    notes = Notes()
    hacore.run(spec, resume=folder, device="cpu", reporter=notes)
    assert any("started from" in text for text in notes.said)
    assert_same(folder, whole)


def test_weights_that_are_not_finite_are_no_start(start, first, names):
    tensors, state = load_tensors(first.best)
    name = next(name for name in tensors if name.startswith("model.image_encoder") and tensors[name].ndim > 1)
    tensors[name].view(-1)[1] = torch.inf
    save_tensors(first.best, tensors, state)
    with pytest.raises(RunError) as caught:
        start()
    names(str(caught.value), str(first.best), name.removeprefix("model."), "1 of its", "train.init")
    with pytest.raises(RunError) as caught:
        hacore.load(str(first.path))
    names(str(caught.value), str(first.best), name.removeprefix("model."), "infinity")


def test_a_model_keeps_the_encoder_that_it_was_given(make_spec, first, tmp_path):
    """Its own checkpoint has all weights; those it started from may be gone."""
    spec = make_spec(
        {"image_encoder.weights": str(first.path), "image_encoder.frozen": True, "train.steps": 2}
    )
    folder, _ = hacore.run(spec, runs=tmp_path / "runs", device="cpu", quiet=True)
    theirs = named(best(first), "image_encoder.")
    shutil.rmtree(first.path)
    own = hacore.load(folder, device="cpu").model.image_encoder
    assert differing(own.state_dict(), theirs) == set()
    assert not own.trains
