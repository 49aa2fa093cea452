"""Muon for hidden matrices, AdamW for the rest: which parameter gets which step, and that both come back."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hacore.spec import TrainConfig
from hacore.train.optimizer import make_optimizer


def make_model(width=6):
    layers = [
        nn.Conv2d(1, 2, 3),
        nn.Flatten(),
        nn.Linear(8, width),
        nn.LayerNorm(width),
        nn.Linear(width, width),
    ]
    return nn.Sequential(*layers, nn.Linear(width, 3))


HIDDEN = {"2.weight", "4.weight"}


def trained(model, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 1, 4, 4, generator=generator)).square().sum().backward()
        optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def config(**options):
    return TrainConfig(**{"optimizer": "muon", "lr": 1e-2, "weight_decay": 0.1} | options)


def test_all_but_hidden_weights_take_the_steps_of_adamw():
    torch.manual_seed(0)
    model = make_model()
    other = copy.deepcopy(model)
    muon = trained(model, make_optimizer(model, config()), 1)
    adamw = trained(other, make_optimizer(other, config(optimizer="adamw")), 1)
    assert {name for name in muon if not torch.equal(muon[name], adamw[name])} == HIDDEN


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000))
def test_a_hidden_weight_moves_in_all_directions_alike(rows, columns, seed):
    """A first step is lr * 0.2 * sqrt(max(rows, columns)) along U V^T of the gradient U S V^T, of which
    Muon's iterations give singular values of 0.5 to 1.5 (Jordan 2024; Liu et al. 2025, equation 4)."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(columns, rows, bias=False), nn.Linear(rows, 1))
    weight, before = model[0].weight, model[0].weight.detach().clone()
    optimizer = make_optimizer(model, config(weight_decay=0.0))
    u, _ = torch.linalg.qr(torch.randn(rows, rows))
    v, _ = torch.linalg.qr(torch.randn(columns, columns))
    rank = min(rows, columns)
    weight.grad = u[:, :rank] * torch.linspace(1, 2, rank) @ v[:, :rank].T
    optimizer.step()
    moved = (before - weight.detach()) / (1e-2 * 0.2 * max(rows, columns) ** 0.5)
    inner = u.T @ moved @ v
    along = inner.diagonal()
    assert along.min() > 0.5
    assert along.max() < 1.5
    torch.testing.assert_close(inner, torch.zeros(rows, columns).fill_diagonal_(1) * inner, rtol=0, atol=0.05)


def test_hidden_weights_decay_with_the_others():
    torch.manual_seed(0)
    model = make_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, config())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        share = 1 - 1e-2 * 0.1 if parameter.dim() > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), share * before[name])


def test_frozen_weights_are_left_out_and_without_hidden_ones_it_is_adamw():
    model = make_model()
    model[2].weight.requires_grad_(False)
    groups = make_optimizer(model, config()).param_groups
    assert [id(p) for p in groups[0]["params"]] == [id(model[4].weight)]
    assert all(p is not model[2].weight for group in groups for p in group["params"])
    assert type(make_optimizer(nn.Sequential(nn.Linear(2, 2)), config())) is torch.optim.AdamW


@pytest.mark.parametrize("lr", [1e-2, 3e-2])
def test_a_loaded_state_goes_on_as_before(lr):
    torch.manual_seed(0)
    model = make_model()
    optimizer = make_optimizer(model, config(lr=lr))
    trained(model, optimizer, 3)
    other = copy.deepcopy(model)
    resumed = make_optimizer(other, config(lr=lr))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    expected, loaded = trained(model, optimizer, 3, seed=1), trained(other, resumed, 3, seed=1)
    for name, tensor in expected.items():
        assert torch.equal(tensor, loaded[name]), name


def test_the_learning_rate_of_the_groups_is_that_of_both():
    model = make_model()
    optimizer = make_optimizer(model, config())
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    after = trained(model, optimizer, 1)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
