"""The weights and their gradients are those of plain formulas, and the cells without weight are gone."""

import entmax
import pytest
import torch
from hacore_entmax import Config
from hacore_entmax.sparse import Entmax15, Sparsemax
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions

SELECTORS = {"sparsemax": Sparsemax, "entmax15": Entmax15}
ALPHA = {"sparsemax": 2.0, "entmax15": 1.5}
both = pytest.mark.parametrize("name", SELECTORS)


def make(name, grid, channels, dtype=torch.float64, **options):
    """A selector whose scores are not all zero, and a function from features (Q, N, C) to its selection."""
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=channels)
    selector = build(SELECTORS[name], Config(**options), sizes)
    torch.nn.init.normal_(selector.score.weight)
    selector = selector.to(dtype)

    def select(x_QNC):
        cells = Cells(features=x_QNC, positions=grid_positions(grid).to(x_QNC.dtype), grid=grid)
        return selector(cells, Question(torch.zeros(len(x_QNC), 7)))

    return selector, select


def of_scores(name, scores_QN, **options):
    """The selection of a grid of one row whose scores are given."""
    selector, select = make(name, (1, scores_QN.shape[1]), 1, scores_QN.dtype, **options)
    torch.nn.init.ones_(selector.score.weight)
    return select(scores_QN.unsqueeze(2))


def on_grid(selection):
    """(Q, N): the weight of each cell, zero where it was dropped."""
    weight_QN = torch.zeros_like(selection.presence_QN)
    return weight_QN.scatter_add(1, selection.index_QK, selection.masked_weight_QK)


def probabilities(name, scores):
    """p of a list of scores: sort and threshold for sparsemax, bisection for 1.5-entmax."""
    if name == "sparsemax":
        ordered = sorted(scores, reverse=True)
        sums = [sum(ordered[: count + 1]) for count in range(len(ordered))]
        support = [n for n, value in enumerate(ordered) if 1 + (n + 1) * value > sums[n]]
        threshold = (sums[support[-1]] - 1) / (support[-1] + 1)
        return [max(value - threshold, 0) for value in scores]
    low, high = max(scores) / 2 - 1, max(scores) / 2
    for _ in range(200):
        middle = (low + high) / 2
        if sum(max(value / 2 - middle, 0) ** 2 for value in scores) > 1:
            low = middle
        else:
            high = middle
    return [max(value / 2 - low, 0) ** 2 for value in scores]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(list(SELECTORS)),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from([0.05, 0.3, 1.0, 4.0]),
    st.integers(0, 999),
    st.data(),
)
def test_weights_cells_and_gradients_are_those_of_the_formula(
    name, questions, rows, columns, channels, scale, seed, data
):
    torch.manual_seed(seed)
    count = rows * columns
    max_cells = data.draw(st.none() | st.integers(1, count))
    selector, select = make(name, (rows, columns), channels, scale=scale, max_cells=max_cells)
    x_QNC = torch.randn(questions, count, channels, dtype=torch.float64, requires_grad=True)
    selection = select(x_QNC)
    factor_QN = torch.randn(questions, count, dtype=torch.float64)
    grad_x, grad_w = torch.autograd.grad(
        (on_grid(selection) * factor_QN).sum(), [x_QNC, selector.score.weight]
    )

    width = max_cells or max(selection.counts_Q.tolist())
    assert selection.index_QK.shape == selection.weight_QK.shape == (questions, width)
    w_C = selector.score.weight[0].detach()
    expected_x, expected_w = torch.zeros_like(x_QNC), torch.zeros_like(w_C)
    for q in range(questions):
        scores = [scale * float(w_C @ cell) / channels**0.5 for cell in x_QNC[q].detach()]
        order = sorted(range(count), key=lambda n, scores=scores: -scores[n])[:max_cells]
        p = dict(zip(order, probabilities(name, [scores[n] for n in order]), strict=True))
        kept = [n for n in order if p[n] > 1e-12]
        valid = selection.valid_QK[q].tolist()
        assert valid == [True] * sum(valid) + [False] * (width - sum(valid))
        assert selection.index_QK[q][: sum(valid)].tolist()[: len(kept)] == kept
        assert torch.equal(selection.features_QKC[q, : len(kept)], x_QNC[q][kept])
        assert not selection.features_QKC[q, sum(valid) :].any()
        assert not selection.weight_QK[q, sum(valid) :].any()
        assert selection.weight_QK[q, : len(kept)].tolist() == pytest.approx([p[n] for n in kept], abs=1e-9)
        assert selection.presence_QN[q].tolist() == pytest.approx(scores)
        # Vector times Jacobian, diag(r) - r r^T / sum(r) with r = p^(2 - alpha) on the support.
        r = {n: p[n] ** (2 - ALPHA[name]) for n in kept}
        mean = sum(r[n] * float(factor_QN[q, n]) for n in kept) / sum(r.values())
        for n in kept:
            slope = r[n] * (float(factor_QN[q, n]) - mean) * scale / channels**0.5
            expected_x[q, n] = slope * w_C
            expected_w += slope * x_QNC[q, n].detach()
    torch.testing.assert_close(grad_x, expected_x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad_w[0], expected_w, rtol=1e-5, atol=1e-5)


def test_known_distributions():
    # The threshold of the first is -0.1; in the second only the highest is left.
    weights = on_grid(of_scores("sparsemax", torch.tensor([[0.3, -1.0, 0.5], [4.0, 2.9, 0.0]])))
    torch.testing.assert_close(weights, torch.tensor([[0.4, 0.0, 0.6], [1.0, 0.0, 0.0]]))
    # Under 1.5-entmax a cell 2 below the highest is just gone.
    weights = on_grid(of_scores("entmax15", torch.tensor([[0.0, 0.0], [2.0, 0.0]])))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))


@both
def test_training_starts_with_about_the_mean_of_all_cells_and_the_scores_learn(name):
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=(3, 3), cell_channels=4)
    selector = build(SELECTORS[name], Config(), sizes)
    cells = Cells(features=torch.randn(2, 9, 4), positions=grid_positions((3, 3)), grid=(3, 3))
    selection = selector(cells, Question(torch.zeros(2, 7)))
    assert selection.counts_Q.tolist() == [9, 9]
    torch.testing.assert_close(on_grid(selection), torch.full((2, 9), 1 / 9), rtol=0, atol=0.05)
    (selection.weight_QK * torch.randn(2, 9)).sum().backward()
    assert selector.score.weight.grad.all()


@both
def test_a_larger_scale_keeps_fewer_cells_and_never_none(name):
    torch.manual_seed(0)
    scores_QN = torch.randn(20, 49)
    counts = [
        int(of_scores(name, scores_QN, scale=scale).counts_Q.sum()) for scale in (1e-3, 0.1, 1, 10, 1e6)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 20 * 49
    assert counts[-1] == 20


def test_sparsemax_keeps_fewer_cells_than_entmax15():
    torch.manual_seed(0)
    scores_QN = torch.randn(50, 100)
    sparsemax, entmax15 = (of_scores(name, scores_QN).counts_Q.float().mean() for name in SELECTORS)
    assert 1 < sparsemax < entmax15 < 100


@both
def test_a_limit_shares_the_weight_among_the_strongest(name):
    scores_QN = torch.tensor([[0.0, 0.3, 0.1, 0.2], [9.0, 0.0, 0.0, 0.0]])
    selection = of_scores(name, scores_QN, max_cells=2)
    assert selection.index_QK[0].tolist() == [1, 3]
    assert selection.valid_QK.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(selection.masked_weight_QK.sum(1), torch.ones(2))
    # A limit that the question does not reach changes nothing.
    assert torch.equal(on_grid(selection)[1], on_grid(of_scores(name, scores_QN))[1])


def test_with_a_limit_sparsemax_is_the_nearest_distribution_with_that_many_cells():
    torch.manual_seed(0)
    scores_QN = torch.randn(30, 8, dtype=torch.float64) / 4
    p_QN = on_grid(of_scores("sparsemax", scores_QN, max_cells=3))
    best_Q = (p_QN - scores_QN).square().sum(1)
    others = torch.combinations(torch.arange(8), 3)
    for three in others:
        other_QN = torch.zeros_like(p_QN)
        other_QN[:, three] = entmax.sparsemax(scores_QN[:, three], dim=1)
        assert ((other_QN - scores_QN).square().sum(1) >= best_Q - 1e-12).all()


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_float32_and_sum_to_one(name, dtype):
    torch.manual_seed(0)
    _, select = make(name, (10, 10), 8, dtype)
    selection = select(torch.randn(2, 100, 8, dtype=dtype))
    assert selection.features_QKC.dtype == dtype
    assert selection.weight_QK.dtype == torch.float32
    torch.testing.assert_close(selection.masked_weight_QK.sum(1), torch.ones(2))


@both
def test_autocast_changes_nothing(name):
    torch.manual_seed(0)
    selector, select = make(name, (4, 4), 8, torch.float32)
    x_QNC = torch.randn(5, 16, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = select(x_QNC)
    assert torch.equal(on_grid(rounded), on_grid(select(x_QNC)))
    rounded.weight_QK.square().sum().backward()
    assert selector.score.weight.grad.isfinite().all()


@both
def test_large_scores_do_not_overflow(name):
    assert of_scores(name, torch.tensor([[1e30, -1e30, 0.0]])).index_QK.tolist() == [[0]]
    with pytest.raises(ValueError, match=r"question 0 of the batch has 2 of 3 cells .* not finite"):
        of_scores(name, torch.tensor([[1e30, -1e30, 0.0]]), scale=1e30)


@both
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_cell_that_is_not_finite_is_refused(name, value):
    _, select = make(name, (3, 3), 2, torch.float32)
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match=r"question 1 of the batch has 1 of 9 cells .* not finite"):
        select(x_QNC)


@both
def test_options_out_of_range_are_refused(name):
    for options in ({"scale": 0}, {"max_cells": 0}):
        with pytest.raises(ValueError, match="is out of range; it must be"):
            Config(**options)
    with pytest.raises(ValueError, match="max_cells = 5 is more than the 4 cells of a 2x2 grid"):
        make(name, (2, 2), 1, max_cells=5)
