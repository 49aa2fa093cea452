"""The cells are those of a plain greedy loop, and nearly as far apart as can be."""

import itertools
import math

import pytest
import torch
from hacore_diverse_k import Config
from hacore_diverse_k.diverse_k import DiverseK
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions

QUESTION = 5


def make(grid, channels, dtype=torch.float64, **options):
    sizes = Sizes(
        image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=channels, question_channels=QUESTION
    )
    return build(DiverseK, Config(**options), sizes).to(dtype)


def select(selector, x_QNC, question_QC=None):
    if question_QC is None:
        question_QC = torch.zeros(len(x_QNC), QUESTION, dtype=x_QNC.dtype)
    grid = selector.sizes.grid
    cells = Cells(features=x_QNC, positions=grid_positions(grid).to(x_QNC.dtype), grid=grid)
    return selector(cells, Question(question_QC))


def in_a_row(x_QNC, **options):
    """The selection of a grid of one row."""
    return select(make((1, x_QNC.shape[1]), x_QNC.shape[2], x_QNC.dtype, **options), x_QNC)


def distance(a, b):
    """1 - cosine; a zero vector equals zero vectors and is at 1 from all others."""
    if not any(a) or not any(b):
        return 0.0 if any(a) == any(b) else 1.0
    value = 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
    return 0.0 if value < 1e-12 else value


def chosen_by_loop(vectors, k, match=None):
    """Cells in the order of choice, the presence of all, and the least gap between a best and a second."""
    count = len(vectors)
    match = match or [1.0] * count
    apart = [[distance(a, b) for b in vectors] for a in vectors]
    kept, scores, gap = [], [], math.inf
    while len(kept) < k:
        score = {}
        for n in set(range(count)) - set(kept):
            others = kept or [i for i in range(count) if i != n]
            score[n] = min((apart[n][i] for i in others), default=0.0) * match[n]
        best, *rest = sorted(score, key=lambda n, score=score: (-score[n], n))
        near = [score[best] - score[n] for n in rest if score[n] != score[best]]
        gap = min([gap, *near])
        kept.append(best)
        scores.append(score[best])
    presence = [min(apart[n][i] for i in kept) * match[n] for n in range(count)]
    farthest = max(apart[kept[0]][n] * match[n] for n in range(count))
    for n, value in zip(kept, [farthest, *scores[1:]], strict=True):
        presence[n] = value
    return kept, presence, gap


shapes = st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 999)


@settings(deadline=None, max_examples=60)
@given(*shapes, st.booleans(), st.data())
def test_keeps_what_a_plain_loop_keeps(questions, rows, columns, channels, seed, question, data):
    torch.manual_seed(seed)
    count = rows * columns
    k = data.draw(st.integers(1, count))
    selector = make((rows, columns), channels, k=k, question=question)
    # About a third of the cells are repeated, and the zero vector is one of them.
    x_QNC = torch.randn(questions, count, channels, dtype=torch.float64)
    x_QNC[:, 0] = 0
    x_QNC = x_QNC[:, torch.randint(count, (count,))]
    question_QC = torch.randn(questions, QUESTION, dtype=torch.float64)
    selection = select(selector, x_QNC, question_QC)
    assert selection.valid_QK is None
    assert (selection.weight_QK is None) == (not question)
    for q, vectors in enumerate(x_QNC.tolist()):
        match = None
        if question:
            u = (selector.project.weight @ question_QC[q]).tolist()
            match = [
                1 / (1 + math.exp(-sum(x * y for x, y in zip(u, v, strict=True)) / (math.hypot(*v) or 1)))
                for v in vectors
            ]
        kept, presence, gap = chosen_by_loop(vectors, k, match)
        if gap < 1e-9:
            continue  # equal but for rounding: either choice is right
        assert selection.index_QK[q].tolist() == kept
        assert torch.equal(selection.features_QKC[q], x_QNC[q][kept])
        assert selection.presence_QN[q].tolist() == pytest.approx(presence)
        if question:
            assert selection.weight_QK[q].tolist() == pytest.approx([match[n] for n in kept])


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 999), st.data())
def test_the_smallest_angle_is_at_least_half_of_the_largest_possible(count, channels, seed, data):
    torch.manual_seed(seed)
    k = data.draw(st.integers(2, count))
    x_QNC = torch.randn(1, count, channels, dtype=torch.float64)
    vectors = x_QNC[0].tolist()

    def smallest_angle(cells):
        pairs = itertools.combinations(cells, 2)
        return min(math.acos(max(1 - distance(vectors[a], vectors[b]), -1)) for a, b in pairs)

    best = max(smallest_angle(cells) for cells in itertools.combinations(range(count), k))
    assert smallest_angle(in_a_row(x_QNC, k=k).index_QK[0].tolist()) >= best / 2 - 1e-6


def test_it_starts_with_the_cell_farthest_from_its_nearest_neighbour():
    # The third direction is 65 degrees from the nearest, no other more than 15.
    angles = torch.tensor([0.0, 10.0, 100.0, 165.0, 180.0]).deg2rad()
    x_QNC = torch.stack([angles.cos(), angles.sin()], 1).unsqueeze(0)
    assert in_a_row(x_QNC, k=4).index_QK.tolist() == [[2, 0, 4, 3]]


def test_of_equal_cells_the_lower_index_wins_and_all_are_kept_once():
    x_QNC = torch.full((2, 9, 7), 0.3)
    assert in_a_row(x_QNC, k=9).index_QK.tolist() == [list(range(9))] * 2
    assert not in_a_row(x_QNC, k=4).presence_QN.any()


def test_the_norm_does_not_count_and_zero_cells_are_alike():
    torch.manual_seed(0)
    x_QNC = torch.randn(3, 12, 6)
    x_QNC[:, 3:8] = 0
    selection = in_a_row(x_QNC, k=8)
    assert torch.equal(
        in_a_row(x_QNC * torch.logspace(-3, 3, 12).view(-1, 1), k=8).index_QK, selection.index_QK
    )
    # All but one of the five zero cells come last.
    zero = [sum(3 <= n < 8 for n in row) for row in selection.index_QK.tolist()]
    assert zero == [1, 1, 1]


@pytest.mark.parametrize("question", [False, True])
@pytest.mark.parametrize("k", [1, 2, 7, 12])
def test_no_dropped_cell_has_more_presence_than_a_kept_one(question, k):
    torch.manual_seed(k)
    selector = make((3, 4), 5, k=k, question=question)
    x_QNC = torch.randn(20, 12, 5, dtype=torch.float64)
    selection = select(selector, x_QNC, torch.randn(20, QUESTION, dtype=torch.float64))
    kept_QK = selection.presence_QN.gather(1, selection.index_QK)
    assert (kept_QK.diff(dim=1) <= 0).all()
    dropped_QN = selection.presence_QN.scatter(1, selection.index_QK, -1.0)
    assert (dropped_QN.amax(1) <= kept_QK.amin(1)).all()


def test_the_plain_form_has_no_state_and_trains_the_kept_cells_alone():
    selector = make((3, 4), 5, k=4)
    assert not selector.state_dict()
    x_QNC = torch.randn(2, 12, 5, dtype=torch.float64, requires_grad=True)
    selection = select(selector, x_QNC)
    (grad,) = torch.autograd.grad(selection.features_QKC.sum(), x_QNC)
    expected = torch.zeros(2, 12, 1).scatter(1, selection.index_QK.unsqueeze(2), 1.0).expand(-1, -1, 5)
    assert torch.equal(grad, expected.double())


def test_the_question_chooses_and_its_projection_learns():
    torch.manual_seed(0)
    selector = make((3, 4), 6, k=3, question=True)
    x_QNC = torch.randn(1, 12, 6, dtype=torch.float64).expand(8, -1, -1).clone().requires_grad_()
    question_QC = (20 * torch.randn(8, QUESTION, dtype=torch.float64)).requires_grad_()
    selection = select(selector, x_QNC, question_QC)
    assert len({tuple(sorted(row)) for row in selection.index_QK.tolist()}) > 1
    # The same by a plain formula.
    factor_QK = torch.randn_like(selection.weight_QK)
    weight = selector.project.weight
    unit_QNC = (x_QNC / x_QNC.norm(dim=2, keepdim=True)).detach()
    plain_QN = torch.sigmoid(torch.einsum("qnc,cd,qd->qn", unit_QNC, weight, question_QC))
    inputs = [weight, question_QC]
    grads = torch.autograd.grad((selection.weight_QK * factor_QK).sum(), inputs, retain_graph=True)
    expected = torch.autograd.grad((plain_QN.gather(1, selection.index_QK) * factor_QK).sum(), inputs)
    torch.testing.assert_close(grads, expected)
    assert all(grad.any() for grad in grads)
    assert torch.autograd.grad(selection.weight_QK.sum(), x_QNC, allow_unused=True) == (None,)


def test_autocast_changes_no_choice():
    torch.manual_seed(0)
    x_QNC = torch.randn(8, 49, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = in_a_row(x_QNC, k=10)
    exact = in_a_row(x_QNC, k=10)
    assert torch.equal(rounded.index_QK, exact.index_QK)
    assert torch.equal(rounded.presence_QN, exact.presence_QN)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    # In float16 the square of 300 is infinite.
    x_QNC = 300 * torch.randn(2, 9, 8).to(dtype)
    selection = in_a_row(x_QNC, k=4)
    assert selection.features_QKC.dtype == dtype
    assert selection.presence_QN.dtype == torch.float32
    assert torch.equal(selection.index_QK, in_a_row(x_QNC.float(), k=4).index_QK)


def test_k_and_fraction_are_those_of_top_k():
    assert in_a_row(torch.randn(2, 100, 3)).index_QK.shape == (2, 16)
    assert in_a_row(torch.randn(2, 100, 3), fraction=0.145).index_QK.shape == (2, 15)
    with pytest.raises(ValueError, match=r"k = 16 and fraction = 0\.1: give k or fraction, not both"):
        Config(k=16, fraction=0.1)
    with pytest.raises(ValueError, match="k = 10 is more than the 9 cells of a 1x9 grid"):
        in_a_row(torch.ones(1, 9, 2), k=10)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_cell_that_is_not_finite_is_refused(value):
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match=r"question 1 of the batch has 1 of 9 cells .* not finite"):
        in_a_row(x_QNC, k=4)
