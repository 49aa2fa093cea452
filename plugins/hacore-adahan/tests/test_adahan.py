import math

import pytest
import torch
from hacore_adahan import Config
from hacore_adahan.adahan import AdaHAN
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


def select(x_QNC, grid, **options):
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=x_QNC.shape[-1])
    selector = build(AdaHAN, Config(**options), sizes)
    cells = Cells(features=x_QNC, positions=grid_positions(grid).to(x_QNC.dtype), grid=grid)
    return selector(cells, Question(torch.zeros(len(x_QNC), 7)))


def kept_by_loop(vectors, presence="norm", scale=1.0, threshold=1.0, comparison=">=", max_cells=None):
    """Cell numbers a question keeps, and whether some probability lies on the threshold but for rounding."""
    square = [sum(value * value for value in vector) for vector in vectors]
    strength = square if presence == "square" else [math.sqrt(value) for value in square]
    strength = [value * scale for value in strength]
    exp = [math.exp(value - max(strength)) for value in strength]
    ratio = [value * len(vectors) / sum(exp) / threshold for value in exp]
    order = sorted(range(len(vectors)), key=lambda n: (-strength[n], n))
    kept = [n for n in order if ratio[n] > 1 or (ratio[n] == 1 and comparison == ">=")] or order[:1]
    return kept[:max_cells], any(0 < abs(value - 1) < 1e-9 for value in ratio)


options_given = st.fixed_dictionaries(
    {
        "presence": st.sampled_from(["norm", "square"]),
        "scale": st.sampled_from([0.01, 0.5, 1.0, 3.0]),
        "threshold": st.sampled_from([0.3, 0.9, 1.0, 1.7, 50.0]),
        "comparison": st.sampled_from([">=", ">"]),
    }
)


@settings(deadline=None, max_examples=60)
@given(options_given, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999), st.data())
def test_keeps_what_a_plain_loop_keeps(options, questions, rows, columns, seed, data):
    cells = rows * columns
    max_cells = data.draw(st.none() | st.integers(1, cells))
    generator = torch.Generator().manual_seed(seed)
    x_QNC = torch.randint(-2, 3, (questions, cells, 2), generator=generator).double().requires_grad_()
    looped = [kept_by_loop(vectors, max_cells=max_cells, **options) for vectors in x_QNC.tolist()]
    if any(on_threshold for _, on_threshold in looped):
        return
    selection = select(x_QNC, (rows, columns), max_cells=max_cells, **options)

    width = max_cells or max(len(kept) for kept, _ in looped)
    assert selection.index_QK.shape == selection.valid_QK.shape == (questions, width)
    assert selection.valid_QK.dtype == torch.bool
    assert not selection.presence_QN.requires_grad
    expected_grad = torch.zeros_like(x_QNC)
    for q, (kept, _) in enumerate(looped):
        count = len(kept)
        assert selection.valid_QK[q].tolist() == [True] * count + [False] * (width - count)
        assert selection.index_QK[q, :count].tolist() == kept
        assert selection.index_QK[q].min() >= 0
        assert selection.index_QK[q].max() < cells
        assert torch.equal(selection.features_QKC[q, :count], x_QNC[q][kept])
        assert not selection.features_QKC[q, count:].any()
        expected_grad[q, kept] = 1
    (grad,) = torch.autograd.grad(selection.features_QKC.sum(), x_QNC)
    assert torch.equal(grad, expected_grad)


@pytest.mark.parametrize("cells", range(1, 120))
def test_equal_presences_are_on_the_threshold_whatever_the_rounding(cells):
    # 1/N and its products round for most N; equality must hold all the same.
    x_QNC = torch.full((2, cells, 3), 0.1)
    assert select(x_QNC, (1, cells)).counts_Q.tolist() == [cells, cells]
    assert select(x_QNC, (1, cells), comparison=">").index_QK.tolist() == [[0], [0]]


def test_what_enters_the_softmax_is_the_norm_or_its_square():
    x_QNC = torch.tensor([[[3.0, 4.0], [4.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    # exp(5), exp(4), 1, 1 of 205: both beat 1/4; exp(25) leaves nothing to exp(16).
    norm, square = (select(x_QNC, (2, 2), presence=each, scale=1.0) for each in ("norm", "square"))
    assert norm.index_QK.tolist() == [[0, 1]]
    assert norm.presence_QN.tolist() == [[5, 4, 0, 0]]
    assert square.index_QK.tolist() == [[0]]
    assert square.presence_QN.tolist() == [[25, 16, 0, 0]]


def test_a_small_scale_keeps_the_cells_above_the_mean_presence():
    torch.manual_seed(0)
    x_QNC = 50 * torch.randn(20, 36, 8).double()
    selection = select(x_QNC, (6, 6), scale=1e-7)
    presence_QN = x_QNC.norm(dim=2)
    above_QN = presence_QN > presence_QN.mean(1, keepdim=True)
    assert selection.counts_Q.tolist() == above_QN.sum(1).tolist()
    assert select(x_QNC, (6, 6), scale=1.0).counts_Q.sum() < selection.counts_Q.sum() / 4


def test_unless_told_otherwise_norms_that_differ_by_much_do_not_leave_a_few_cells():
    x_QNC = torch.linspace(0, 100, 100).double().reshape(1, 100, 1)
    # exp(-i / 8) beats the mean of all for i up to 19, exp(-i) for i up to 4.
    assert select(x_QNC, (10, 10)).counts_Q.tolist() == [20]
    assert select(x_QNC, (10, 10), scale=1.0).counts_Q.tolist() == [5]


def test_a_higher_threshold_keeps_fewer_cells_and_never_none():
    torch.manual_seed(0)
    x_QNC = torch.randn(8, 49, 4)
    thresholds = (0.1, 0.5, 1.0, 2.0, 1000.0)
    counts = [int(select(x_QNC, (7, 7), scale=1.0, threshold=t).counts_Q.sum()) for t in thresholds]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == len(counts)
    assert counts[-1] == 8


def test_a_question_keeps_the_same_whatever_its_batch():
    torch.manual_seed(1)
    x_QNC = torch.randn(6, 25, 3) * torch.linspace(0.2, 3, 6)[:, None, None]
    together = select(x_QNC, (5, 5))
    assert len(set(together.counts_Q.tolist())) > 1
    for q in range(6):
        alone = select(x_QNC[q : q + 1], (5, 5))
        count = int(together.counts_Q[q])
        assert alone.valid_QK.all()
        assert alone.index_QK[0].tolist() == together.index_QK[q, :count].tolist()
        assert torch.equal(alone.features_QKC[0], together.features_QKC[q, :count])


def test_max_cells_fixes_the_width_and_keeps_the_strongest():
    x_QNC = torch.zeros(2, 9, 1)
    x_QNC[0, :, 0] = torch.arange(9) / 100  # all but equal: about half pass
    x_QNC[1, 4] = 20.0  # one passes
    selection = select(x_QNC, (3, 3), max_cells=3)
    assert selection.index_QK[0].tolist() == [8, 7, 6]
    assert selection.valid_QK.tolist() == [[True, True, True], [True, False, False]]


def test_large_presences_do_not_overflow():
    x_QNC = torch.tensor([[[1e4], [1e4 - 1], [0.0]]])
    assert select(x_QNC, (1, 3), scale=1.0).index_QK.tolist() == [[0]]
    assert select(x_QNC, (1, 3), scale=1.0, threshold=0.5).index_QK.tolist() == [[0, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_keep_their_type_and_norms_do_not_overflow(dtype):
    x_QNC = torch.full((1, 4, 8), 300.0, dtype=dtype)
    x_QNC[0, 2] += 10
    selection = select(x_QNC, (2, 2), presence="square")
    assert selection.features_QKC.dtype == dtype
    assert selection.index_QK.tolist() == [[2]]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_cell_that_is_not_finite_is_refused(value):
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match=r"question 1 of the batch has 1 of 9 cells .* not finite"):
        select(x_QNC, (3, 3))


def test_a_square_that_overflows_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        select(torch.full((1, 4, 1), 1e25), (2, 2), presence="square", max_cells=2)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="0 is out of range; it must be above 0"):
        Config(threshold=0)
    with pytest.raises(ValueError, match="0 is out of range; it must be at least 1"):
        Config(max_cells=0)
    with pytest.raises(
        ValueError, match="max_cells = 5 is more than the 4 cells of a 2x2 grid; lower it or leave it out"
    ):
        select(torch.ones(1, 4, 1), (2, 2), max_cells=5)


def test_permuted_cells_give_the_permuted_selection():
    torch.manual_seed(0)
    x_QNC = torch.randn(4, 12, 5)
    order = torch.randperm(12)
    before, after = select(x_QNC, (3, 4)), select(x_QNC[:, order], (3, 4))
    assert torch.equal(after.valid_QK, before.valid_QK)
    assert torch.equal(order[after.index_QK][after.valid_QK], before.index_QK[before.valid_QK])
    assert torch.equal(after.features_QKC, before.features_QKC)


def budgeted(cells, channels=4, **options):
    grid = (1, cells)
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=channels)
    selector = build(AdaHAN, Config(**options), sizes)

    def keep(x_QNC):
        question = Question(torch.zeros(len(x_QNC), 7))
        return selector(Cells(features=x_QNC, positions=grid_positions(grid), grid=grid), question)

    return selector, keep


@pytest.mark.parametrize(
    ("budget", "max_cells", "strength"),
    [
        (0.1, None, 0.3),
        (0.5, None, 1.0),
        (0.02, None, 3.0),
        (0.3, 20, 1.0),
        (0.9, None, 0.1),
        (0.2, None, 0.0001),
    ],
)
def test_the_mean_share_kept_becomes_the_budget(budget, max_cells, strength):
    selector, keep = budgeted(50, budget=budget, max_cells=max_cells)
    generator = torch.Generator().manual_seed(1)

    def batch(questions):
        # Questions whose cells differ more or less, so that they keep different numbers.
        spread = strength * (0.5 + torch.rand(questions, 1, 1, generator=generator))
        return 2 + spread * torch.randn(questions, 50, 4, generator=generator)

    selector.train()
    for _ in range(200):
        keep(batch(64))
    before = selector.log_threshold.clone()
    selector.eval()
    counts_Q = keep(batch(2000)).counts_Q.float()
    assert counts_Q.mean().item() / 50 == pytest.approx(budget, rel=0.1)
    assert counts_Q.max() <= (max_cells or 50)
    if 0.02 < budget < 0.9:
        assert counts_Q.std() > 0.5
    assert torch.equal(selector.log_threshold, before)  # evaluation does not move it


@pytest.mark.parametrize(("budget", "max_cells"), [(0.3, None), (0.02, None), (0.2, 15), (1.0, None)])
def test_one_batch_over_and_over_is_kept_by_exactly_the_budget(budget, max_cells):
    _, keep = budgeted(50, budget=budget, max_cells=max_cells)
    x_QNC = torch.randn(40, 50, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(500):
        selection = keep(x_QNC)
    # The threshold comes to lie on the last cell that is wanted, up to rounding.
    assert abs(int(selection.counts_Q.sum()) - round(budget * 40 * 50)) <= 1


def test_the_threshold_of_a_budget_is_saved_with_the_weights():
    selector, keep = budgeted(50, budget=0.2)
    for _ in range(50):
        keep(torch.randn(8, 50, 4))
    other, _ = budgeted(50, budget=0.2)
    other.load_state_dict(selector.state_dict())
    assert other.log_threshold == selector.log_threshold != 0
    assert budgeted(50)[0].state_dict() == {}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"budget": 0.01}, ("budget = 0.01", "50 cells")),
        ({"budget": 0.5, "max_cells": 20}, ("budget = 0.5", "0.4")),
        ({"budget": 0.5, "threshold": 2.0}, ("budget = 0.5", "threshold = 2.0")),
    ],
)
def test_budgets_that_cannot_be_kept_are_refused(options, parts, names):
    with pytest.raises(ValueError, match="budget") as error:
        budgeted(50, **options)
    names(str(error.value), *parts)
