import math

import torch
from hacore_learned_topk import ScoredConfig
from hacore_learned_topk.scored import ScoredTopK
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 6), st.integers(0, 999), st.data())
def test_weights_and_their_gradients_are_those_of_the_formula(
    make_selector, questions, cells, channels, seed, data
):
    k = data.draw(st.integers(1, cells))
    torch.manual_seed(seed)
    selector, select = make_selector(ScoredTopK, ScoredConfig(k=k), cells, channels, torch.float64)
    x_QNC = torch.randn(questions, cells, channels, dtype=torch.float64, requires_grad=True)
    selection = select(x_QNC)
    factor_QK = torch.randn(questions, k, dtype=torch.float64)

    w = selector.direction.tolist()
    grad_w, grad_x = [0.0] * channels, torch.zeros_like(x_QNC)
    for q in range(questions):
        for j, n in enumerate(selection.index_QK[q].tolist()):
            m = x_QNC[q, n].tolist()
            s = sum(a * b for a, b in zip(w, m, strict=True)) / math.sqrt(channels)
            weight = 1 / (1 + math.exp(-s))
            assert math.isclose(float(selection.weight_QK[q, j].detach()), weight, rel_tol=1e-9)
            slope = float(factor_QK[q, j]) * weight * (1 - weight) / math.sqrt(channels)
            for c in range(channels):
                grad_w[c] += slope * m[c]
                grad_x[q, n, c] += slope * w[c]
    grads = torch.autograd.grad((selection.weight_QK * factor_QK).sum(), [selector.direction, x_QNC])
    torch.testing.assert_close(grads, (torch.tensor(grad_w, dtype=torch.float64), grad_x))


def test_training_and_evaluation_are_the_same(make_selector):
    torch.manual_seed(0)
    selector, select = make_selector(ScoredTopK, ScoredConfig(k=4), 12, 5, torch.float64)
    x_QNC = torch.randn(3, 12, 5).double()
    trained = select(x_QNC)
    selector.eval()
    evaluated = select(x_QNC)
    assert torch.equal(trained.index_QK, evaluated.index_QK)
    assert torch.equal(trained.weight_QK, evaluated.weight_QK)


def test_training_starts_with_the_cells_of_largest_mean_channel(make_selector):
    """Behind a ReLU; of a random direction alone this would be chance."""
    torch.manual_seed(0)
    _, select = make_selector(ScoredTopK, ScoredConfig(k=5), 20, 256, torch.float64)
    x_QNC = torch.rand(50, 20, 256).double() * torch.linspace(0.1, 2, 20).view(1, -1, 1)
    assert (select(x_QNC).index_QK >= 13).double().mean() > 0.95
