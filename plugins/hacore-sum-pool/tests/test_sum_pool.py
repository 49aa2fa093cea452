import pytest
import torch
from hacore_sum_pool import Config
from hacore_sum_pool.sum_pool import SumPool
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Question, Selection, Sizes, build, grid_positions


def pool(features_QKC, **parts):
    questions, kept, channels = features_QKC.shape
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=(3, 4), cell_channels=channels)
    aggregator = build(SumPool, Config(), sizes)
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
    st.integers(0, 999),
)
def test_sum_and_gradients_are_those_of_a_plain_loop(questions, kept, channels, ragged, weighted, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(questions, kept, channels, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(questions, kept, generator=generator, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(questions, kept, generator=generator) < 0.6
    valid[:, -1] = True
    out_QC = pool(x, valid_QK=valid if ragged else None, weight_QK=weight if weighted else None)

    rows = []
    for q in range(questions):
        row = torch.zeros(channels, dtype=torch.float64)
        for i in range(kept):
            if not ragged or valid[q, i]:
                row = row + x[q, i] * (weight[q, i] if weighted else 1)
        rows.append(row)
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
