"""What is timed is what the model does, stage by stage."""

import types

import attrs
import pytest
import torch
from hacore_bench.timing import Limits, time_rounds
from hacore_bench.work import PARTS, WHOLE, Work

from hacore.errors import HacoreError
from hacore.interfaces import Selector
from hacore.measure.predict import predict
from hacore.selection import keep_cells

pytestmark = pytest.mark.usefixtures("one_thread")
SELECTORS = ("l2-topk", "adahan", "gumbel-topk", "perturbed-topk", "soft-attention", "entmax15", "all-cells")


def gradients(model, run):
    """{parameter: its gradient} of the backward passes within a call."""
    sums = {}

    def add(name):
        return lambda gradient: sums.__setitem__(name, sums.get(name, 0) + gradient.clone())

    hooks = [parameter.register_hook(add(name)) for name, parameter in model.named_parameters()]
    torch.manual_seed(5)  # noise and dropout
    run()
    for hook in hooks:
        hook.remove()
    return sums


@pytest.mark.parametrize("selector", SELECTORS)
def test_gradients_by_stage_are_those_of_the_whole(open_small, moved, selector):
    subject = open_small(f"selector={{ use = '{selector}' }}", all_cells=False)
    model = subject.models["own"].double()
    (batch,) = subject.batches("own", 9)
    work = Work(subject, model, moved())
    whole = gradients(model, lambda: work.training_step(batch))
    by_stage = gradients(model, lambda: work.backward_by_stage(batch))
    assert whole.keys() == by_stage.keys()
    assert any(gradient.abs().max() > 0 for gradient in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(by_stage[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


class Costly(Selector):
    """Keeps two cells, and charges for it; it has a loss of its own."""

    def __init__(self, sizes, clock):
        super().__init__(types.SimpleNamespace(), sizes)
        self.clock = clock
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, cells, question):
        self.clock.now += 0.02
        presence_QN = cells.features.detach().norm(dim=2)
        kept = keep_cells(cells, presence_QN.topk(2).indices, presence_QN)
        features = kept.features_QKC * self.scale
        if features.requires_grad:
            features.register_hook(lambda _: setattr(self.clock, "now", self.clock.now + 0.05))
        return attrs.evolve(kept, features_QKC=features, loss=self.scale.square())


def test_a_slow_selector_shows_in_its_own_rows_and_in_the_whole(open_small, moved):
    subject, clock = open_small(all_cells=False), moved()
    own = subject.models["own"]
    model = own.with_selector(Costly(own.selector.sizes, clock))
    (batch,) = subject.batches("own", 8)
    seconds = Work(subject, model, clock).all(batch)
    assert seconds.pop(("selector", "forward")) == pytest.approx(0.02)
    assert seconds.pop(("selector", "backward")) == pytest.approx(0.05)
    assert seconds.pop((WHOLE, "forward")) == pytest.approx(0.02)
    assert seconds.pop((WHOLE, "step")) == pytest.approx(0.07)
    assert set(seconds) == {(part, way) for part in PARTS for way in ("forward", "backward")} - {
        ("selector", "forward"),
        ("selector", "backward"),
    }
    assert all(value == pytest.approx(0) for value in seconds.values())


def test_cells_that_are_fused_for_the_selector_are_the_fusers_work(open_small, moved, monkeypatch):
    subject, clock = open_small("fuser.layers=1", all_cells=False), moved()
    model = subject.models["own"]
    combine = model.fuser._combine

    def slow(*arguments):
        clock.now += 0.03
        fused_QKC = combine(*arguments)
        if fused_QKC.requires_grad:
            fused_QKC.register_hook(lambda _: setattr(clock, "now", clock.now + 0.07))
        return fused_QKC

    monkeypatch.setattr(model.fuser, "_combine", slow)
    seconds = Work(subject, model, clock).all(subject.batches("own", 3)[0])
    assert seconds["fuser", "forward"] >= 0.03
    assert seconds["fuser", "forward"] == pytest.approx(seconds[WHOLE, "forward"])
    assert seconds["selector", "forward"] == pytest.approx(0)
    assert seconds["fuser", "backward"] == pytest.approx(0.07)
    assert seconds["selector", "backward"] == pytest.approx(0)


def test_an_auxiliary_loss_is_part_of_the_step(open_small, moved):
    subject = open_small("train.precision=float32", all_cells=False)
    own = subject.models["own"]
    model = own.with_selector(Costly(own.selector.sizes, moved()))
    (batch,) = subject.batches("own", 8)
    work = Work(subject, model, moved())
    whole = gradients(model, lambda: work.training_step(batch))
    by_stage = gradients(model, lambda: work.backward_by_stage(batch))
    torch.testing.assert_close(whole["selector.scale"], by_stage["selector.scale"])
    without = predict(model.train(), batch)
    subject.dataset.loss(without.logits_QA, batch).div(len(batch)).backward()
    torch.testing.assert_close(whole["selector.scale"], model.selector.scale.grad + 2)


@pytest.mark.parametrize(
    "overrides", [(), ("selector={ use = 'adahan', budget = 0.3 }",), ("train.average=0.9",)]
)
def test_measuring_changes_nothing_of_the_model(open_small, moved, overrides):
    subject = open_small(*overrides, all_cells=False)
    model = subject.models["own"]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    work = Work(subject, model, moved())
    for batch in subject.batches("own", 4):
        work.all(batch)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not model.training


def test_stages_without_a_backward_pass_have_no_time(open_small, moved):
    subject = open_small(all_cells=False)
    model = subject.models["own"]
    model.image_encoder.requires_grad_(False)
    seconds = Work(subject, model, moved()).all(subject.batches("own", 2)[0])
    assert ("image_encoder", "forward") in seconds
    assert ("image_encoder", "backward") not in seconds


class Turn:
    """Work that says when its turn is, and may need more memory than there is."""

    def __init__(self, name, calls, fits=True):
        self.name, self.calls, self.fits = name, calls, fits

    def forward(self, batch):
        self.calls.append((self.name, batch))

    def all(self, batch):
        if not self.fits:
            raise torch.OutOfMemoryError("no")
        return {(WHOLE, "forward"): 1.0}


PRODUCT = types.SimpleNamespace(seconds=lambda: 2.0)
LIMITS = Limits(repeats=4, seconds=100)


def test_the_models_take_turns_and_each_round_takes_the_next_batch():
    calls = []
    works = {name: Turn(name, calls) for name in ("own", "all-cells")}
    timing = time_rounds(works, {name: ["abc", "def"] for name in works}, PRODUCT, LIMITS, lambda done: None)
    assert [name for name, _ in calls] == ["own", "all-cells", "all-cells", "own"] * 2
    assert [batch for name, batch in calls if name == "own"] == ["abc", "def"] * 2
    assert timing.seconds == {(name, WHOLE, "forward"): [1.0] * 4 for name in works}


def test_three_rounds_are_made_whatever_they_take():
    works = {"own": Turn("own", [])}
    limits = Limits(repeats=50, seconds=0)
    timing = time_rounds(works, {"own": ["abc"]}, PRODUCT, limits, lambda done: None)
    assert len(timing.seconds["own", WHOLE, "forward"]) == 3


def test_all_cells_that_do_not_fit_the_memory_are_left_out():
    works = {"own": Turn("own", []), "all-cells": Turn("all-cells", [], fits=False)}
    timing = time_rounds(works, {name: ["abc"] for name in works}, PRODUCT, LIMITS, lambda done: None)
    assert {model for model, _, _ in timing.seconds} == {"own"}
    (note,) = timing.notes
    assert "all-cells" in note
    assert "3 questions" in note
    works = {"own": Turn("own", [], fits=False)}
    with pytest.raises(HacoreError, match="--batch"):
        time_rounds(works, {"own": ["abc"]}, PRODUCT, LIMITS, lambda done: None)
