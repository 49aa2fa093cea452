import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Cells, grid_positions
from hacore.selection import (
    check_finite,
    gather_cells,
    keep_leading,
    l2_presence,
    no_autocast,
    strongest_first,
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_presence_is_the_norm_in_float32_at_least_and_without_gradient(dtype):
    x_QNC = (100 * torch.randn(3, 7, 600)).to(dtype).requires_grad_()
    presence_QN = l2_presence(x_QNC)
    expected_QN = x_QNC.detach().double().square().sum(-1).sqrt()
    assert presence_QN.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not presence_QN.requires_grad
    torch.testing.assert_close(presence_QN.double(), expected_QN, rtol=1e-5, atol=0)


def test_equal_presences_keep_the_order_of_the_grid():
    presence_QN = torch.tensor([[1.0, 3.0, 3.0, 0.0, 1.0], [2.0] * 5])
    assert strongest_first(presence_QN).tolist() == [[1, 2, 0, 4, 3], [0, 1, 2, 3, 4]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_order_and_the_host_does_not_wait():
    x_QNC = torch.randint(-1, 2, (64, 196, 3), generator=torch.Generator().manual_seed(0)).float()
    on_device = x_QNC.cuda()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        index_QN = strongest_first(l2_presence(on_device))
        kept_QKC = gather_cells(on_device, index_QN[:, :16])
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert torch.equal(index_QN.cpu(), strongest_first(l2_presence(x_QNC)))
    assert torch.equal(kept_QKC.cpu(), gather_cells(x_QNC, index_QN[:, :16].cpu()))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.data())
def test_gathering_is_indexing_and_gradient_reaches_only_the_kept_cells(questions, cells, channels, data):
    count = data.draw(st.integers(1, cells))
    index_QK = torch.stack([torch.randperm(cells)[:count] for _ in range(questions)])
    x_QNC = torch.randn(questions, cells, channels, requires_grad=True)
    kept_QKC = gather_cells(x_QNC, index_QK)
    expected = torch.stack([x_QNC[q][index_QK[q]] for q in range(questions)])
    assert torch.equal(kept_QKC, expected)

    factor_QKC = torch.randn_like(kept_QKC)
    (grad,) = torch.autograd.grad((kept_QKC * factor_QKC).sum(), x_QNC)
    (grad_expected,) = torch.autograd.grad((expected * factor_QKC).sum(), x_QNC)
    assert torch.equal(grad, grad_expected)


def test_gathering_takes_features_that_are_not_contiguous():
    x_QNC = torch.randn(2, 5, 4).transpose(1, 2)
    kept_QKC = gather_cells(x_QNC, torch.tensor([[3], [1]]))
    assert torch.equal(kept_QKC[:, 0], torch.stack([x_QNC[0, 3], x_QNC[1, 1]]))


def test_a_presence_that_is_not_finite_is_named():
    presence_QN = torch.ones(4, 6)
    presence_QN[2, 1] = torch.nan
    presence_QN[2, 5] = torch.inf
    with pytest.raises(ValueError, match=r"question 2 of the batch has 2 of 6 cells .*; look at the images"):
        check_finite(presence_QN)
    presence_QN[3, 0] = -torch.inf
    with pytest.raises(ValueError, match=r"question 2 of the batch \(and 1 more\) has 2 of 6 cells"):
        check_finite(presence_QN)
    check_finite(torch.ones(4, 6))


def test_a_question_keeps_the_first_of_its_order_and_what_pads_it_is_zero_without_gradient():
    features_QNC = torch.randn(3, 4, 2, requires_grad=True)
    cells = Cells(features=features_QNC, positions=grid_positions((2, 2)), grid=(2, 2))
    order_QN = torch.tensor([[3, 1, 0, 2], [0, 1, 2, 3], [2, 3, 1, 0]])
    selection = keep_leading(cells, torch.zeros(3, 4), order_QN, torch.tensor([2, 3, 0]), None)
    assert selection.valid_QK.tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    assert torch.equal(selection.index_QK, order_QN[:, :3])
    assert torch.equal(selection.features_QKC[0, :2], features_QNC[0, [3, 1]])
    assert not selection.features_QKC[~selection.valid_QK].any()
    (grad,) = torch.autograd.grad(selection.features_QKC.sum(), features_QNC)
    assert grad[..., 0].tolist() == [[0, 1, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0]]
    limited = keep_leading(cells, torch.zeros(3, 4), order_QN, torch.tensor([2, 3, 0]), 2)
    assert limited.counts_Q.tolist() == [2, 2, 1]


def test_products_keep_their_precision_within_no_autocast():
    x = torch.randn(5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with no_autocast(x):
            assert (x @ x).dtype == torch.float32
    with no_autocast(x.to("meta")):
        pass
