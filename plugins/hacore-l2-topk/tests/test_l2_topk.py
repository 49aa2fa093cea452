import pytest
import torch
from hacore_l2_topk import Config
from hacore_l2_topk.l2_topk import L2TopK
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


def select(x_QNC, grid, **options):
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=x_QNC.shape[-1])
    selector = build(L2TopK, Config(**options), sizes)
    cells = Cells(features=x_QNC, positions=grid_positions(grid).to(x_QNC.dtype), grid=grid)
    return selector(cells, Question(torch.zeros(len(x_QNC), 7)))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 999), st.data()
)
def test_keeps_what_a_plain_loop_keeps(questions, rows, columns, channels, seed, data):
    cells = rows * columns
    k = data.draw(st.integers(1, cells))
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers: many cells have equal norms.
    x_QNC = torch.randint(-2, 3, (questions, cells, channels), generator=generator).float().requires_grad_()
    selection = select(x_QNC, (rows, columns), k=k)

    expected_grad = torch.zeros_like(x_QNC)
    for q in range(questions):
        norms = [sum(value * value for value in vector) ** 0.5 for vector in x_QNC[q].tolist()]
        kept = sorted(range(cells), key=lambda n, norms=norms: (-norms[n], n))[:k]
        assert selection.index_QK[q].tolist() == kept
        assert torch.equal(selection.features_QKC[q], x_QNC[q][kept])
        assert selection.presence_QN[q].tolist() == pytest.approx(norms)
        expected_grad[q, kept] = 1
    assert selection.valid_QK is None
    assert selection.weight_QK is None
    assert selection.loss is None
    assert not selection.presence_QN.requires_grad
    (grad,) = torch.autograd.grad(selection.features_QKC.sum(), x_QNC)
    assert torch.equal(grad, expected_grad)


def test_of_equal_presences_the_lower_index_wins():
    assert select(torch.ones(2, 9, 4), (3, 3), k=4).index_QK.tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize(
    ("options", "grid", "kept"),
    [
        ({}, (10, 10), 16),
        ({"k": 100}, (10, 10), 100),
        ({"k": 1}, (1, 1), 1),
        ({"fraction": 0.16}, (10, 10), 16),
        ({"fraction": 0.145}, (10, 10), 15),
        ({"fraction": 0.144}, (10, 10), 14),
        ({"fraction": 0.001}, (10, 10), 1),
        ({"fraction": 1.0}, (7, 7), 49),
        ({"fraction": 0.5}, (1, 5), 3),
    ],
)
def test_the_number_of_cells_kept(options, grid, kept):
    selection = select(torch.randn(2, grid[0] * grid[1], 3), grid, **options)
    assert selection.index_QK.shape == (2, kept)
    assert selection.counts_Q.tolist() == [kept, kept]


def test_more_cells_than_the_grid_has_is_refused_when_built():
    with pytest.raises(
        ValueError, match="k = 26 is more than the 25 cells of a 5x5 grid; lower k or use fraction"
    ):
        select(torch.ones(1, 25, 2), (5, 5), k=26)
    with pytest.raises(ValueError, match="k = 16 is more than the 9 cells of a 3x3 grid"):
        select(torch.ones(1, 9, 2), (3, 3))


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"fraction": 0.0}, {"fraction": 1.01}, {"fraction": float("nan")}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="is out of range; it must be"):
        Config(**options)


def test_k_and_fraction_together_are_refused():
    with pytest.raises(ValueError, match=r"k = 16 and fraction = 0.1: give k or fraction, not both"):
        Config(k=16, fraction=0.1)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_cell_that_is_not_finite_is_refused(value):
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match=r"question 1 of the batch has 1 of 9 cells .* not finite"):
        select(x_QNC, (3, 3), k=4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_features_keep_their_type_and_norms_do_not_overflow(dtype):
    # In float16 the square of 300 is infinite.
    x_QNC = torch.full((1, 4, 8), 300.0, dtype=dtype)
    x_QNC[0, 2] += 10
    selection = select(x_QNC, (2, 2), k=2)
    assert selection.features_QKC.dtype == dtype
    assert selection.index_QK.tolist() == [[2, 0]]


def test_permuted_cells_give_the_permuted_selection():
    torch.manual_seed(0)
    x_QNC = torch.randn(4, 12, 5)
    order = torch.randperm(12)
    before, after = select(x_QNC, (3, 4), k=5), select(x_QNC[:, order], (3, 4), k=5)
    assert torch.equal(order[after.index_QK], before.index_QK)
    assert torch.equal(after.features_QKC, before.features_QKC)
    assert torch.equal(after.presence_QN, before.presence_QN[:, order])
