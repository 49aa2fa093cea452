"""What decides, and what is long, is computed in float32 under bfloat16 autocast on the CPU."""

import attrs
import numpy as np
import pytest
import torch
from torch import nn

import hacore
from hacore.data import make_batch
from hacore.interfaces import Cells, Question, Selection, Sizes, grid_positions
from hacore.measure.predict import evaluating, predict
from hacore.registry import registry

BF16 = torch.bfloat16
ONE_ROUNDING = 2.0**-8
"""Of a bfloat16 number, relative to it."""


def official(kind):
    """The names of the components of this project that are installed."""
    return sorted(entry.name for entry in registry().of(kind) if entry.distribution.startswith("hacore-"))


def autocast():
    return torch.autocast("cpu", BF16)


@pytest.fixture(scope="module")
def dataset(small_table):
    return hacore.open_dataset(hacore.resolve(small_table("bfloat16")).data)


@pytest.fixture
def batch(dataset):
    return make_batch(
        dataset.questions("val"), dataset.images("val"), np.arange(0, 80, 7), dataset.objects("val")
    )


@pytest.fixture
def compose(small_table, dataset):
    """compose(selector={...}): a model with some sections replaced."""

    def make(**sections):
        torch.manual_seed(0)
        return hacore.compose(hacore.resolve(small_table("bfloat16", **sections)), dataset.sizes())

    return make


def watched(module):
    """Arguments and result of the module's last call, gathered in the list that is returned."""
    calls = []
    module.register_forward_hook(lambda module, arguments, result: calls.append((arguments, result)))
    return calls


def in_float32(cells, question):
    """The same values as float32."""
    words_QTC = question.words_QTC
    return (
        Cells(features=cells.features.detach().float(), positions=cells.positions, grid=cells.grid),
        attrs.evolve(
            question,
            vector_QC=question.vector_QC.detach().float(),
            words_QTC=None if words_QTC is None else words_QTC.detach().float(),
        ),
    )


CHOICES = [
    *({"use": name} for name in official("selector")),
    {"use": "adahan", "presence": "square", "scale": 0.3},
    {"use": "adahan", "budget": 0.3},
    {"use": "l2-topk", "k": 3},
]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    "selector", CHOICES, ids=lambda selector: "-".join(str(value) for value in selector.values())
)
def test_a_choice_is_made_in_float32(compose, batch, selector, train):
    """From the same bfloat16 vectors it is what float32 arithmetic makes of them, bit for bit."""
    model = compose(selector=selector).train(train)
    calls = watched(model.selector)
    state = {name: tensor.clone() for name, tensor in model.selector.state_dict().items()}
    torch.manual_seed(1)
    predict(model, batch, BF16)
    ((cells, question), selection) = calls[-1]
    assert cells.features.dtype == BF16
    after = {name: tensor.clone() for name, tensor in model.selector.state_dict().items()}
    for name in ("presence_QN", "weight_QK", "share_QKN", "loss"):
        tensor = getattr(selection, name)
        assert tensor is None or tensor.dtype == torch.float32, name

    if selector["use"] == "soft-attention":
        return  # its scores are an MLP's, whose products are the autocast's
    model.selector.load_state_dict(state)
    torch.manual_seed(1)
    expected = model.selector(*in_float32(cells, question))
    assert torch.equal(selection.presence_QN, expected.presence_QN)
    assert torch.equal(selection.index_QK, expected.index_QK)
    assert torch.equal(selection.counts_Q, expected.counts_Q)
    for name in ("weight_QK", "share_QKN"):
        actual, wanted = getattr(selection, name), getattr(expected, name)
        assert (actual is None and wanted is None) or torch.equal(actual, wanted), name
    for name, tensor in model.selector.state_dict().items():
        assert torch.equal(after[name], tensor), name


def test_presence_is_the_norm_of_the_vectors(compose, batch):
    """Against float64; a norm that was rounded to bfloat16 is a thousand times further away."""
    model = compose(selector={"use": "l2-topk", "k": 5})
    calls = watched(model.selector)
    predict(model, batch, BF16)
    ((cells, _), selection) = calls[-1]
    norm_QN = cells.features.detach().double().square().sum(2).sqrt()
    torch.testing.assert_close(selection.presence_QN.double(), norm_QN, rtol=1e-6, atol=1e-9)
    assert not torch.equal(selection.presence_QN.to(BF16).float(), selection.presence_QN)


def test_the_weights_of_soft_attention_add_up_to_one(compose, batch):
    model = compose(selector={"use": "soft-attention"})
    weight_QN = predict(model, batch, BF16).selection.weight_QK
    torch.testing.assert_close(weight_QN.sum(1), torch.ones(len(weight_QN)), rtol=0, atol=1e-6)
    assert not torch.equal(weight_QN.to(BF16).float(), weight_QN)


def test_the_threshold_of_adahan_is_exact(compose, batch):
    """A cell passes where its probability, in float64, is at least 1 / N."""
    model = compose(selector={"use": "adahan", "scale": 0.2}).eval()
    calls = watched(model.selector)
    predict(model, batch, BF16)
    ((cells, _), selection) = calls[-1]
    norm_QN = cells.features.detach().double().square().sum(2).sqrt()
    chance_QN = (0.2 * norm_QN).softmax(1)
    assert selection.counts_Q.tolist() == (chance_QN >= 1 / chance_QN.shape[1]).sum(1).tolist()
    assert len(set(selection.counts_Q.tolist())) > 1


AGGREGATORS = {"rn": 40, "non-local": 900, "sum-pool": 900, "transformer": 900, "mac": 900}
"""Cells of each, so that hundreds of equal numbers are added; of rn there are as many pairs."""


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", official("aggregator"))
def test_a_sum_of_many_equal_numbers_goes_on_growing(name, weighted):
    """A sum in bfloat16 stops at 256 ones."""
    entry = registry().find("aggregator", name)
    kept, channels = AGGREGATORS[name], 8
    sizes = Sizes(
        image=(3, 8, 8),
        grid=(30, 30),
        cell_channels=channels,
        question_channels=4,
        word_channels=6,
        words=5,
        answers=3,
    )
    torch.manual_seed(0)
    module = entry.load()(entry.declared.config(), sizes)
    selection = Selection(
        features_QKC=torch.rand(1, 1, channels).to(BF16).float().expand(2, kept, channels),
        index_QK=torch.zeros(2, kept, dtype=torch.int64),
        presence_QN=torch.ones(2, 900),
        positions_N2=grid_positions((30, 30)),
        grid=(30, 30),
        weight_QK=torch.full((2, kept), 0.75) if weighted else None,
    )
    vector_QC, words_QTC = torch.rand(2, 4).to(BF16), torch.rand(2, 3, 6).to(BF16)
    question = Question(vector_QC.float(), words_QTC.float(), torch.tensor([3, 3]))
    expected_QC = module(selection, question)
    with autocast():
        out_QC = module(
            attrs.evolve(selection, features_QKC=selection.features_QKC.to(BF16)),
            Question(vector_QC, words_QTC, question.lengths_Q),
        )
    scale = float(expected_QC.detach().abs().max())
    torch.testing.assert_close(out_QC.float(), expected_QC, rtol=0, atol=6 * ONE_ROUNDING * scale)


def test_the_sum_over_pairs_has_more_digits_than_bfloat16(compose, batch):
    model = compose(aggregator={"use": "rn", "width": 8})
    calls = watched(model.aggregator)
    predict(model, batch, BF16)
    assert calls[-1][1].dtype == torch.float32
    assert not torch.equal(calls[-1][1].to(BF16).float(), calls[-1][1])


def test_running_statistics_of_batch_norm_are_those_of_float32(compose, batch):
    """Of the encoder and of the fuser, after one step of training; inputs as autocast gives them."""
    model = compose(fuser={"use": "multiply", "width": 8, "normalise": True}).train()
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    calls = {name: watched(module) for name, module in norms.items()}
    questions = watched(model.question_encoder)
    predict(model, batch, BF16)
    assert len(norms) == 2
    cases = [(norms[name], calls[name][-1][0][0].detach().transpose(0, 1).flatten(1)) for name in norms]
    cases.append((model.fuser.norm, questions[-1][1].vector_QC.detach().T))
    for norm, values_CX in cases:
        assert norm.running_mean.dtype == norm.running_var.dtype == torch.float32
        mean_C, var_C = values_CX.double().mean(1), values_CX.double().var(1)
        torch.testing.assert_close(norm.running_mean.double(), 0.1 * mean_C, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * var_C, rtol=1e-5, atol=1e-6)


def test_group_norm_is_within_one_rounding_of_the_formula():
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8)
    x = (3 + torch.randn(3, 8, 40, 40)).to(BF16)
    with torch.no_grad(), autocast():
        out = norm(x)
    groups = x.double().reshape(3, 2, -1)
    deviation = (groups.var(2, correction=0, keepdim=True) + norm.eps).sqrt()
    expected = ((groups - groups.mean(2, keepdim=True)) / deviation).reshape(x.shape)
    torch.testing.assert_close(out.double(), expected, rtol=ONE_ROUNDING, atol=1e-3)


def test_probabilities_come_from_logits_in_float32(compose, batch):
    model = compose()
    with evaluating(model):
        logits_QA = predict(model, batch, BF16).logits_QA
    assert logits_QA.dtype == torch.float32
    total_Q = logits_QA.softmax(1).sum(1)
    torch.testing.assert_close(total_Q, torch.ones_like(total_Q), rtol=0, atol=1e-6)
