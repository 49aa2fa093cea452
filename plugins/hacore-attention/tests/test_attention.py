"""Attention, weights as a bias and groups of questions, against loops over questions and cells."""

import math

import attrs
import pytest
import torch
from hacore_attention import attention, in_groups, log_weight
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Selection, grid_positions

GRID = (4, 5)


def by_loop(query_QSD, key_QKD, value_QKE, weight_QK, factor):
    """Weights times exponentials over their sum, one query at a time, of those that have a weight."""
    rows = []
    for query_SD, key_KD, value_KE, weight_K in zip(query_QSD, key_QKD, value_QKE, weight_QK, strict=True):
        for query_D in query_SD:
            share = [
                weight * torch.exp(factor * (query_D @ key_D)) if weight > 0 else 0 * weight
                for key_D, weight in zip(key_KD, weight_K, strict=True)
            ]
            rows.append(sum(s * value_E for s, value_E in zip(share, value_KE, strict=True)) / sum(share))
    return torch.stack(rows).view(*query_QSD.shape[:2], -1)


def inputs(questions, queries, kept, seed, dtype=torch.float64):
    torch.manual_seed(seed)
    shapes = ((questions, queries, 3), (questions, kept, 3), (questions, kept, 4), (questions, kept))
    *vectors, weight_QK = (torch.randn(shape, dtype=dtype) for shape in shapes)
    weight_QK = weight_QK.abs() + 0.1
    absent_QK = torch.rand(questions, kept) < 0.4
    absent_QK[:, -1] = False
    return [x.requires_grad_() for x in (*vectors, weight_QK.masked_fill(absent_QK, 0))], absent_QK


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.sampled_from([1.0, 0.5]), st.integers(0, 99)
)
def test_result_and_gradients_are_those_of_a_loop(questions, queries, kept, factor, seed):
    moving, absent_QK = inputs(questions, queries, kept, seed)
    query, key, value, weight_QK = moving
    out = attention(query, key, value, log_weight(weight_QK).unsqueeze(1), factor)
    expected = by_loop(*moving, factor)
    torch.testing.assert_close(out, expected)
    direction = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad(result, moving, direction) for result in (out, expected))
    for mine, plain in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(mine, plain)
    # The gradient of a weight of zero, that of a cell that is not there, is finite and nothing more.
    torch.testing.assert_close(ours[3][~absent_QK], theirs[3][~absent_QK])
    assert ours[3].isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_other_precisions_are_near_float64(dtype, tolerance):
    moving, _ = inputs(7, 2, 9, seed=0)
    *vectors, weight_QK = (x.detach().to(dtype).requires_grad_() for x in moving)
    out = attention(*vectors, log_weight(weight_QK).unsqueeze(1), 0.7)
    assert out.dtype == dtype
    expected = by_loop(*moving, 0.7)
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(out.sum(), vectors), torch.autograd.grad(expected.sum(), moving[:3]), strict=True
    ):
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=2 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_scores_stay_finite(dtype):
    x = torch.full((1, 2, 3), 100.0, dtype=dtype)
    assert torch.equal(attention(x, x, x, None), x)


def test_weights_are_a_bias():
    weight_QK = torch.tensor([[2.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    bias_QK = log_weight(weight_QK)
    assert bias_QK[0].tolist() == pytest.approx([math.log(2), -math.inf, math.log(0.5)])
    assert bias_QK[1].tolist() == [0, 0, 0]


def ragged(questions, kept, seed, *, mixed=False):
    torch.manual_seed(seed)
    cells = GRID[0] * GRID[1]
    share_QKN = torch.randn(questions, kept, cells, dtype=torch.float64).softmax(-1)
    return Selection(
        features_QKC=torch.randn(questions, kept, 3, dtype=torch.float64).requires_grad_(),
        index_QK=torch.randint(0, cells, (questions, kept)),
        presence_QN=torch.rand(questions, cells),
        positions_N2=grid_positions(GRID).double(),
        grid=GRID,
        valid_QK=torch.rand(questions, kept) < torch.rand(questions, 1),
        weight_QK=torch.rand(questions, kept, dtype=torch.float64).requires_grad_(),
        share_QKN=share_QKN if mixed else None,
    )


def aggregate(selection, other_QC):
    """Anything that sees every part of a selection and of its questions."""
    place_QK2 = selection.kept_positions_QK2
    vector_QKC = torch.cat([selection.features_QKC, place_QK2, other_QC[:, None].expand_as(place_QK2)], 2)
    return torch.einsum("qk,qkc->qc", selection.masked_weight_QK, vector_QKC.square())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 90), st.integers(1, 9), st.booleans(), st.integers(0, 99))
def test_groups_give_what_all_questions_give_at_once(questions, kept, mixed, seed):
    selection = ragged(questions, kept, seed, mixed=mixed)
    other_QC = torch.randn(questions, 2, dtype=torch.float64).requires_grad_()
    moving = [selection.features_QKC, selection.weight_QK, other_QC]
    expected_QC, out_QC = aggregate(selection, other_QC), in_groups(selection, aggregate, other_QC)
    torch.testing.assert_close(out_QC, expected_QC)
    direction_QC = torch.randn_like(expected_QC)
    torch.testing.assert_close(
        torch.autograd.grad(out_QC, moving, direction_QC),
        torch.autograd.grad(expected_QC, moving, direction_QC),
    )


def test_groups_leave_out_what_no_question_of_theirs_uses():
    selection = ragged(64, 20, seed=0)
    valid_QK = torch.ones(64, 20, dtype=torch.bool)
    valid_QK[::2, 2:] = False  # half of the questions keep 2 cells, half 20
    sizes = []

    def count(selection):
        sizes.append(tuple(selection.index_QK.shape))
        return selection.features_QKC.sum(1)

    in_groups(attrs.evolve(selection, valid_QK=valid_QK), count)
    assert sorted(sizes) == [(32, 2), (32, 20)]
    sizes.clear()
    in_groups(attrs.evolve(selection, valid_QK=None), count)
    assert sizes == [(64, 20)]
