import pytest
import torch
from hacore_sum_pool import Config
from hacore_sum_pool.sum_pool import SumPool
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Question, Selection, Sizes, build, grid_positions


def pool(features_QKC, reduce="sum", **parts):
    questions, kept, channels = features_QKC.shape
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=(3, 4), cell_channels=channels)
    aggregator = build(SumPool, Config(reduce=reduce), sizes)
    assert aggregator.out_channels == channels
    selection = Selection(
        features_QKC=features_QKC,
        index_QK=torch.arange(kept).expand(questions, kept),
        presence_QN=torch.zeros(questions, 12),
        positions_N2=grid_positions((3, 4)),
        grid=(3, 4),
        **parts,
    )
    return aggregator(selection, Question(torch.zeros(questions, 7)))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["sum", "mean"]),
    st.integers(0, 999),
)
def test_result_and_gradients_are_those_of_a_plain_loop(
    questions, kept, channels, ragged, weighted, reduce, seed
):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(questions, kept, channels, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(questions, kept, generator=generator, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(questions, kept, generator=generator) < 0.6
    valid[:, -1] = True
    parts = {"valid_QK": valid if ragged else None, "weight_QK": weight if weighted else None}
    out_QC = pool(x, reduce, **parts)

    rows = []
    for q in range(questions):
        row, total = torch.zeros(channels, dtype=torch.float64), 0
        for i in range(kept):
            if not ragged or valid[q, i]:
                factor = weight[q, i] if weighted else 1
                row, total = row + x[q, i] * factor, total + factor
        rows.append(row / total if reduce == "mean" else row)
    expected_QC = torch.stack(rows)
    torch.testing.assert_close(out_QC, expected_QC)

    factor_QC = torch.randn(questions, channels, generator=generator, dtype=torch.float64)
    wanted = [x, weight] if weighted else [x]
    torch.testing.assert_close(
        torch.autograd.grad((out_QC * factor_QC).sum(), wanted),
        torch.autograd.grad((expected_QC * factor_QC).sum(), wanted),
    )


def test_the_order_of_the_kept_cells_does_not_matter():
    torch.manual_seed(0)
    x_QKC, weight_QK = torch.randn(2, 6, 3, dtype=torch.float64), torch.rand(2, 6, dtype=torch.float64)
    order = torch.randperm(6)
    torch.testing.assert_close(
        pool(x_QKC[:, order], weight_QK=weight_QK[:, order]), pool(x_QKC, weight_QK=weight_QK)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_vectors_with_float32_weights(dtype):
    x_QKC = torch.ones(2, 4, 3, dtype=dtype)
    out_QC = pool(
        x_QKC,
        weight_QK=torch.full((2, 4), 0.5),
        valid_QK=torch.tensor([[True] * 4, [True] * 2 + [False] * 2]),
    )
    assert out_QC.dtype == dtype
    assert out_QC.tolist() == [[2, 2, 2], [1, 1, 1]]


def test_a_mean_of_weights_that_are_all_zero_is_zero():
    x_QKC = torch.randn(1, 3, 2, requires_grad=True)
    weight_QK = torch.zeros(1, 3, requires_grad=True)
    out_QC = pool(x_QKC, "mean", weight_QK=weight_QK)
    assert out_QC.tolist() == [[0, 0]]
    out_QC.sum().backward()
    assert torch.isfinite(weight_QK.grad).all()
