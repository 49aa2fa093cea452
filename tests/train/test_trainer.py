import contextlib
import json
import math
import sys

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hacore_l2_topk.l2_topk import L2TopK

import hacore
from hacore.data import Dataset, make_batch
from hacore.errors import ComposeError, NotFiniteError, RunError
from hacore.machine.files import load_tensors
from hacore.measure.metrics import Scores
from hacore.model.compose import compose
from hacore.model.opening import open_dataset
from hacore.spec import TrainConfig
from hacore.train import trainer
from hacore.train.flags import READ_EVERY


def lines(folder, kind):
    records = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    return [line for line in records if line["kind"] == kind]


@pytest.fixture
def run(tmp_path):
    def start(spec, **options):
        return hacore.run(spec, runs=tmp_path / "runs", device="cpu", **options)

    return start


@pytest.fixture
def only_run(tmp_path):
    """The folder of a run that raised."""

    def find():
        (path,) = (tmp_path / "runs").glob("*/*")
        return hacore.RunFolder(path)

    return find


@pytest.mark.parametrize("own_loss", [False, True])
def test_a_steps_gradient_is_that_of_the_mean_over_its_questions(make_spec, run, monkeypatch, own_loss):
    """Plain formula: cross-entropy averaged over questions, and the selector's own loss."""
    spec = make_spec(
        {
            "train.steps": 1,
            "train.clip_norm": 0.0,
            "head.dropout": 0.0,
            # No batch norm, so that a question's answer does not depend on the other questions.
            "image_encoder.norm": "off",
            "fuser": {"use": "add", "width": 8},
        }
    )
    select = L2TopK.forward

    def with_loss(self, cells, question):
        selection = select(self, cells, question)
        return attrs.evolve(selection, loss=selection.features_QKC.square().mean())

    if own_loss:
        monkeypatch.setattr(L2TopK, "forward", with_loss)
    dataset = open_dataset(spec.data)
    questions, images = dataset.questions("train"), dataset.images("train")
    torch.manual_seed(spec.seed)
    plain = compose(spec, dataset.sizes())
    rows = trainer.make_sampler(spec, questions).parts(0, 1)[0]
    own = []
    answers = []
    for row in rows:  # one question at a time
        batch = make_batch(questions, images, np.array([row]))
        output = plain(batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q)
        own.append(output.selection.loss if output.selection.loss is not None else torch.zeros(()))
        answers.append(F.cross_entropy(output.logits_QA[0], batch.answer_Q[0]))
    (torch.stack(answers).mean() + torch.stack(own).mean()).backward()
    assert bool(torch.stack(own).sum() > 0) == own_loss

    gradients = {}
    make = trainer.make_optimizer

    def spying(model, config):
        optimizer = make(model, config)
        optimizer.register_step_pre_hook(
            lambda *_: gradients.update((name, p.grad.clone()) for name, p in model.named_parameters())
        )
        return optimizer

    monkeypatch.setattr(trainer, "make_optimizer", spying)
    run(spec)
    assert gradients
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(
            gradients[name],
            parameter.grad,
            rtol=1e-3,
            atol=1e-6,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_the_gradient_is_clipped_to_clip_norm(make_spec, run, monkeypatch):
    norms = []
    make = trainer.make_optimizer

    def spying(model, config):
        optimizer = make(model, config)
        optimizer.register_step_pre_hook(
            lambda *_: norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters())))
        )
        return optimizer

    monkeypatch.setattr(trainer, "make_optimizer", spying)
    run(make_spec({"train.steps": 3, "train.clip_norm": 0.01}))
    run(make_spec({"train.steps": 3, "train.clip_norm": 0.0}))
    assert norms[:3] == pytest.approx([0.01] * 3, rel=1e-3)
    assert min(norms[3:]) > 0.02


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_only_matrices_decay_and_what_is_frozen_is_left_out(name):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Conv2d(1, 1, 3))
    model[2].weight.requires_grad_(False)
    config = TrainConfig(optimizer=name, weight_decay=0.25, betas=(0.8, 0.95))
    optimizer = trainer.make_optimizer(model, config)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {
        id(model[0].weight): 0.25,
        id(model[0].bias): 0,
        id(model[1].weight): 0,
        id(model[1].bias): 0,
        id(model[2].bias): 0,
    }
    assert all(group["betas"] == (0.8, 0.95) for group in optimizer.param_groups)
    assert type(optimizer).__name__.lower() == name


def test_metrics_come_every_log_steps_and_at_the_end_with_the_scheduled_rate(make_spec, run):
    spec = make_spec({"train.steps": 8, "eval.every_epochs": 0.6})
    folder, result = run(spec)
    train = lines(folder, "train")
    assert [line["step"] for line in train] == [3, 6, 8]
    assert [line["lr"] for line in train] == pytest.approx(
        [spec.train.lr * trainer.lr_factor(step - 1, 8, spec.train) for step in (3, 6, 8)]
    )
    assert [line["step"] for line in lines(folder, "eval")] == [5, 8]
    assert [line["epoch"] for line in lines(folder, "eval")] == [0.625, 1]
    assert result["training"]["steps"] == 8
    assert result["training"]["seconds"] >= 0


def test_it_learns(make_spec, run):
    """A few dozen steps halve the loss of the answers that depend on the question alone."""
    spec = make_spec({"train.epochs": 12, "eval.every_epochs": 12, "head.dropout": 0.0})
    folder, _ = run(spec)
    train = lines(folder, "train")
    assert train[-1]["loss"] < 0.6 * train[0]["loss"]


def test_the_running_mean_is_judged_and_kept_as_the_best(make_spec, run, monkeypatch):
    decay, steps = 0.7, 6
    models, weights, judged = [], [], []
    mean_of, evaluate, step = trainer.running_mean, trainer.evaluate, torch.optim.AdamW.step

    def noted_model(model, decay):
        models.append(model)
        return mean_of(model, decay)

    def noted_step(optimizer, *arguments, **options):
        step(optimizer, *arguments, **options)
        weights.append({name: p.detach().clone() for name, p in models[0].named_parameters()})

    def noted_evaluation(model, *arguments, **options):
        judged.append({name: value.clone() for name, value in model.state_dict().items()})
        return evaluate(model, *arguments, **options)

    monkeypatch.setattr(trainer, "running_mean", noted_model)
    monkeypatch.setattr(trainer, "evaluate", noted_evaluation)
    monkeypatch.setattr(torch.optim.AdamW, "step", noted_step)
    folder, _ = run(make_spec({"train.average": decay, "train.steps": steps, "eval.every_epochs": 10}))
    (averaged,) = judged
    best, last = (load_tensors(path)[0] for path in (folder.best, folder.last))
    for name in weights[0]:
        mean = weights[0][name]
        for now in weights[1:steps]:  # a baseline is trained later
            mean = decay * mean + (1 - decay) * now[name]
        torch.testing.assert_close(averaged[name], mean)
        assert torch.equal(last[f"model.{name}"], weights[steps - 1][name])
    for name, value in averaged.items():
        assert torch.equal(best[f"model.{name}"], value)
        assert torch.equal(last[f"average.module.{name}"], value)
    assert not torch.equal(best["model.head.0.weight"], last["model.head.0.weight"])


def test_patience_ends_the_training_early_and_best_is_the_first_best(make_spec, run, monkeypatch):
    accuracies = iter([0.2, 0.5, 0.4, 0.5, 0.1, 0.9])

    def scripted(*_, **options):
        accuracy = next(accuracies)
        return Scores(questions=1, loss=1.0, accuracy=accuracy, kept=1.0, by_type={}, by_group={})

    monkeypatch.setattr(trainer, "evaluate", scripted)
    folder, result = run(make_spec({"train.patience": 3, "train.epochs": 10}))
    assert [line["accuracy"] for line in lines(folder, "eval")] == [0.2, 0.5, 0.4, 0.5, 0.1]
    assert result["checkpoint"] == {"step": 8, "val_accuracy": 0.5}
    assert result["training"]["steps"] == 20
    assert load_tensors(folder.last)[1]["stale"] == 3


def test_bfloat16_on_the_cpu(make_spec, run):
    changes = {"train.steps": 4, "head.dropout": 0.0}
    full, _ = run(make_spec(changes))
    half, result = run(make_spec(changes | {"train.precision": "bfloat16"}))
    one, two = lines(full, "train")[0]["loss"], lines(half, "train")[0]["loss"]
    assert one != two
    assert one == pytest.approx(two, rel=0.05)
    assert 0 <= result["accuracy"] <= 1
    assert {t.dtype for name, t in load_tensors(half.last)[0].items() if name.startswith("model.head")} == {
        torch.float32
    }


@pytest.mark.slow
def test_compiled_training_gives_the_same_numbers(make_spec, run, monkeypatch):
    if sys.version_info < (3, 12):
        # torch's compiler imports setuptools, which refuses when Python's own distutils was imported before.
        monkeypatch.setenv("SETUPTOOLS_USE_DISTUTILS", "stdlib")
    changes = {"train.steps": 4, "head.dropout": 0.0}
    plain, _ = run(make_spec(changes))
    compiled, result = run(make_spec(changes | {"train.compile": True}))
    assert [line["loss"] for line in lines(compiled, "train")] == pytest.approx(
        [line["loss"] for line in lines(plain, "train")], rel=1e-3
    )
    assert result["training"]["steps"] == 4


def spoil(monkeypatch, *steps, change):
    """Change the loss of these training steps (from 0); evaluation is left alone."""
    whole = Dataset.loss
    count = iter(range(10**6))

    def loss(self, logits_QA, batch):
        value = whole(self, logits_QA, batch)
        return change(value) if torch.is_grad_enabled() and next(count) in steps else value

    monkeypatch.setattr(Dataset, "loss", loss)


def finite(path):
    tensors, state = load_tensors(path)
    for name, tensor in tensors.items():
        if not name.startswith("process."):
            assert torch.isfinite(tensor.float()).all(), name
    return state["step"]


SPOILS = {
    "infinite": lambda loss: loss * math.inf,
    "nan": lambda loss: loss * math.nan,
    # The loss is finite, its gradient is not: the derivative of a root at zero.
    "gradient": lambda loss: loss + (loss - loss).sqrt(),
}


@pytest.mark.parametrize("clip_norm", [10.0, 0.0])
@pytest.mark.parametrize("spoiled", SPOILS)
def test_a_loss_that_is_not_finite_names_step_images_and_checkpoint(
    make_spec, run, only_run, names, monkeypatch, spoiled, clip_norm
):
    spec = make_spec({"train.clip_norm": clip_norm})
    spoil(monkeypatch, 6, change=SPOILS[spoiled])
    with pytest.raises(RunError) as caught:
        run(spec)
    folder = only_run()
    sampler = trainer.make_sampler(spec, open_dataset(spec.data).questions("train"))
    images = ", ".join(map(str, sampler.images(6)))
    message = str(caught.value)
    names(message, "step 7", images, "not finite", str(folder.last), "train.lr or train.clip_norm")
    assert finite(folder.last) == 5
    assert finite(folder.best) == 4


def test_the_first_step_may_be_the_bad_one(make_spec, run, only_run, names, monkeypatch):
    """No weight has changed by then: the learning rate is not to blame."""
    spoil(monkeypatch, 0, change=SPOILS["nan"])
    with pytest.raises(RunError, match=r"^step 1 .*not finite.*no checkpoint") as caught:
        run(make_spec())
    assert not only_run().last.exists()
    names(str(caught.value), "training images", "train.lr is not the cause")
    assert "lower" not in str(caught.value)


def test_weights_that_start_as_nan_are_named_before_step_1(make_spec, run, names, monkeypatch):
    def reset(self):
        torch.nn.init.constant_(self.weight, math.nan)

    monkeypatch.setattr(torch.nn.Embedding, "reset_parameters", reset)
    with pytest.raises(ComposeError) as caught:
        run(make_spec())
    names(str(caught.value), "at the start", "question_encoder.embedding.weight", "NaN")
    assert "train.lr" not in str(caught.value)


@pytest.mark.parametrize(("bad", "last_good"), [(0, None), (3, None), (4, 4), (8, 8), (9, 8), (12, 12)])
def test_where_looks_are_rare_the_first_bad_step_is_named_and_nothing_bad_is_written(
    make_spec, run, only_run, names, monkeypatch, bad, last_good
):
    """As on a GPU, which goes on with bad weights until the next look."""
    monkeypatch.setitem(READ_EVERY, "cpu", 10)
    # Cells of weights that are not numbers cannot be ordered, which the CPU notices at once.
    monkeypatch.setattr("hacore.selection.check_finite", lambda presence_QN: None)
    spec = make_spec({"train.log_steps": 100, "train.checkpoint_steps": 13})
    spoil(monkeypatch, bad, change=SPOILS["gradient"])
    with pytest.raises(RunError) as caught:
        run(spec)
    folder = only_run()
    sampler = trainer.make_sampler(spec, open_dataset(spec.data).questions("train"))
    images = ", ".join(map(str, sampler.images(bad)))
    names(str(caught.value), f"step {bad + 1}", images)
    assert folder.last.exists() == (last_good is not None)
    if last_good is not None:
        assert finite(folder.last) == last_good


def test_cells_that_cannot_be_ordered_name_step_and_images(make_spec, run, only_run, monkeypatch):
    """A selector that finds infinite features stops the run as an infinite loss does."""
    count = iter(range(100))

    def check(presence_QN):
        if torch.is_grad_enabled() and next(count) == 5:
            raise NotFiniteError("question 2 has bad cells")

    monkeypatch.setattr("hacore.selection.check_finite", check)
    with pytest.raises(RunError, match=r"^step 6 .*images \d.*question 2 has bad cells.*checkpoint"):
        run(make_spec())
    assert finite(only_run().last) == 5


def test_an_evaluation_that_is_not_finite_stops_before_anything_is_written(
    make_spec, run, only_run, names, monkeypatch
):
    whole = Dataset.loss
    evaluations = iter(range(100))

    def loss(self, logits_QA, batch):
        value = whole(self, logits_QA, batch)
        bad = not torch.is_grad_enabled() and next(evaluations) == 1
        return value * math.nan if bad else value

    monkeypatch.setattr(Dataset, "loss", loss)
    with pytest.raises(RunError) as caught:
        run(make_spec())
    folder = only_run()
    names(str(caught.value), "step 8", "split 'val'", "not finite", "train.lr", str(folder.last))
    assert finite(folder.last) == 5
    assert finite(folder.best) == 4


def test_the_reporter_hears_of_everything_and_is_stopped_when_the_training_fails(make_spec, run, monkeypatch):
    heard = []

    class Notes:
        def start(self, step, total_steps, steps_per_epoch):
            heard.append(("start", step, total_steps, steps_per_epoch))

        def train(self, step, scores, speed):
            assert speed.questions_per_second > 0
            assert speed.seconds_left >= 0
            heard.append(("train", step))

        def evaluation(self, step, split, scores, best):
            heard.append(("evaluation", step, split))

        def message(self, text):
            heard.append(("message", text))

        def stop(self):
            heard.append("stop")

    spoil(monkeypatch, 6, change=SPOILS["nan"])
    with contextlib.suppress(RunError):
        run(make_spec({"eval.every_epochs": 0.25}), reporter=Notes())
    steps = [("evaluation", 2, "val"), ("train", 3), ("evaluation", 4, "val"), ("train", 6)]
    assert heard == [("start", 0, 24, 8), *steps, ("evaluation", 6, "val"), "stop"]
