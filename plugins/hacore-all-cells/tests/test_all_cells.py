import pytest
import torch
from hacore_all_cells import Config
from hacore_all_cells.all_cells import AllCells

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


def select(x_QNC, grid):
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=x_QNC.shape[-1])
    selector = build(AllCells, Config(), sizes)
    assert selector.out_channels == x_QNC.shape[-1]
    cells = Cells(features=x_QNC, positions=grid_positions(grid).to(x_QNC.dtype), grid=grid)
    return selector(cells, Question(torch.zeros(len(x_QNC), 7)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3)])
def test_every_cell_goes_on_in_grid_order_without_a_copy(dtype, rows, columns):
    cells = rows * columns
    x_QNC = torch.randn(2, cells, 4).to(dtype).requires_grad_()
    selection = select(x_QNC, (rows, columns))
    assert selection.features_QKC is x_QNC
    assert selection.index_QK.dtype == torch.int64
    assert selection.index_QK.tolist() == [list(range(cells))] * 2
    assert selection.counts_Q.tolist() == [cells, cells]
    assert torch.equal(selection.kept_positions_QK2[1], grid_positions((rows, columns)).to(dtype))
    assert selection.masked_weight_QK is None
    assert selection.loss is None


def test_the_presence_is_the_norm_and_carries_no_gradient():
    x_QNC = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]]], requires_grad=True)
    selection = select(x_QNC, (1, 3))
    assert selection.presence_QN.tolist() == [[5, 0, 2]]
    assert not selection.presence_QN.requires_grad


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_cell_that_is_not_finite_is_refused(value):
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match=r"question 1 of the batch has 1 of 9 cells .* not finite"):
        select(x_QNC, (3, 3))
