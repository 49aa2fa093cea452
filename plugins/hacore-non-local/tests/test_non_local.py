import math

import pytest
import torch
from hacore_non_local import Config
from hacore_non_local.non_local import NonLocal
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Question, Selection, Sizes, build, grid_positions

GRID = (4, 5)


def make(channels, dtype=torch.float64, **options):
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=GRID, cell_channels=channels)
    return build(NonLocal, Config(**options), sizes).to(dtype)


def selected(features_QKC, index_QK, **parts):
    return Selection(
        features_QKC=features_QKC,
        index_QK=index_QK,
        presence_QN=torch.zeros(len(index_QK), GRID[0] * GRID[1]),
        positions_N2=grid_positions(GRID),
        grid=GRID,
        **parts,
    )


def run(aggregator, *args, **parts):
    selection = selected(*args, **parts)
    return aggregator(selection, Question(torch.zeros(len(selection.index_QK), 7)))


def random_index(questions, kept, generator=None):
    cells = GRID[0] * GRID[1]
    return torch.stack([torch.randperm(cells, generator=generator)[:kept] for _ in range(questions)])


def by_loop(aggregator, x_QKC, index_QK, valid_QK=None, weight_QK=None):
    """The formula, one pair at a time, over the valid cells alone."""
    config, rows = aggregator.config, []
    for q in range(len(x_QKC)):
        cells = [i for i in range(x_QKC.shape[1]) if valid_QK is None or valid_QK[q, i]]
        w = [1.0 if weight_QK is None else weight_QK[q, i] for i in cells]
        x = [x_QKC[q, i] for i in cells]
        at = [grid_positions(GRID)[index_QK[q, i]].to(x_QKC.dtype) for i in cells]
        for block in aggregator.blocks:
            inputs = [torch.cat(pair) for pair in zip(x, at, strict=True)] if config.coordinates else x
            theta, phi, g = (
                [block.theta(s) for s in inputs],
                [block.phi(s) for s in inputs],
                [block.g(s) for s in x],
            )
            size = len(theta[0]) // config.heads
            z = []
            for i in range(len(cells)):
                heads = []
                for h in range(config.heads):
                    part = slice(h * size, (h + 1) * size)
                    scores = [theta[i][part] @ phi[j][part] for j in range(len(cells))]
                    if config.scale:
                        scores = [score / math.sqrt(size) for score in scores]
                    a = [w_j * torch.exp(score) for w_j, score in zip(w, scores, strict=True)]
                    heads.append(sum(a_j * g_j[part] for a_j, g_j in zip(a, g, strict=True)) / sum(a))
                z.append(x[i] + block.out(torch.cat(heads)))
            x = z
        total = sum(w) if config.reduce == "mean" else 1
        rows.append(sum(w_i * x_i for w_i, x_i in zip(w, x, strict=True)) / total)
    return torch.stack(rows)


options_given = st.fixed_dictionaries(
    {
        "heads": st.sampled_from([1, 2]),
        "blocks": st.sampled_from([1, 2]),
        "coordinates": st.booleans(),
        "scale": st.booleans(),
        "width": st.sampled_from([None, 4, 6]),
        "reduce": st.sampled_from(["sum", "mean"]),
    }
)


@settings(deadline=None, max_examples=30)
@given(options_given, st.integers(1, 3), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 999))
def test_result_and_gradients_are_those_of_a_plain_loop(options, questions, kept, ragged, weighted, seed):
    torch.manual_seed(seed)
    aggregator = make(4, zero_init=False, **options)
    index = random_index(questions, kept)
    x = torch.randn(questions, kept, 4, dtype=torch.float64, requires_grad=True)
    weight = (torch.rand(questions, kept, dtype=torch.float64) + 0.01).requires_grad_()
    valid = torch.rand(questions, kept) < 0.6
    valid[:, -1] = True
    parts = {"valid_QK": valid if ragged else None, "weight_QK": weight if weighted else None}
    out_QC, expected_QC = run(aggregator, x, index, **parts), by_loop(aggregator, x, index, **parts)
    torch.testing.assert_close(out_QC, expected_QC)

    factor_QC = torch.randn_like(expected_QC)
    wanted = [x, *aggregator.parameters(), *([weight] if weighted else [])]
    torch.testing.assert_close(
        torch.autograd.grad((out_QC * factor_QC).sum(), wanted),
        torch.autograd.grad((expected_QC * factor_QC).sum(), wanted),
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_precision_gives_the_result_and_gradients_of_float64(weighted, dtype, tolerance):
    torch.manual_seed(0)
    aggregator = make(8, zero_init=False, heads=2, blocks=2)
    x, weight, index = torch.randn(3, 9, 8).double(), torch.rand(3, 9).double(), random_index(3, 9)
    valid = torch.arange(9) < torch.tensor([[9], [4], [1]])

    def result_and_gradients(dtype):
        moving = [x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()][: 1 + weighted]
        parts = {"valid_QK": valid, "weight_QK": moving[1] if weighted else None}
        out_QC = run(aggregator.to(dtype), moving[0], index, **parts)
        moving += aggregator.parameters()
        return [t.double() for t in (out_QC, *torch.autograd.grad(out_QC.square().sum(), moving))]

    rounded, exact = result_and_gradients(dtype), result_and_gradients(torch.float64)
    for tensor, expected in zip(rounded, exact, strict=True):
        scale = expected.abs().max().clamp(min=1)  # the bias of phi has no gradient
        torch.testing.assert_close(tensor / scale, expected / scale, rtol=0, atol=tolerance)


def test_many_ragged_questions_are_as_if_each_were_alone():
    torch.manual_seed(0)
    aggregator = make(6, zero_init=False, heads=3, blocks=2)
    x, index = torch.randn(70, 9, 6, dtype=torch.float64), random_index(70, 9)
    valid = torch.arange(9) < torch.randint(1, 10, (70, 1))
    x[~valid] = 1e6  # finite, and without influence
    out_QC = run(aggregator, x, index, valid_QK=valid)
    for q in range(70):
        alone = run(aggregator, x[q : q + 1, valid[q]], index[q : q + 1, valid[q]])
        torch.testing.assert_close(out_QC[q], alone[0])


def test_work_follows_the_valid_cells():
    torch.manual_seed(0)
    aggregator = make(6)
    counts = []
    aggregator.blocks[0].g.register_forward_hook(lambda _, args, __: counts.append(args[0].shape[:2].numel()))
    valid = torch.ones(64, 20, dtype=torch.bool)
    valid[::2, 2:] = False  # half of the questions keep 2 cells, half 20
    run(aggregator, torch.randn(64, 20, 6, dtype=torch.float64), random_index(64, 20), valid_QK=valid)
    assert sum(counts) == 32 * 2 + 32 * 20


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_weight_of_zero_is_the_same_as_invalid(blocks):
    torch.manual_seed(0)
    aggregator = make(4, zero_init=False, blocks=blocks)
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    index = random_index(2, 5)
    weight = torch.rand(2, 5, dtype=torch.float64)
    absent = torch.tensor([[False, True, False, False, True], [True, True, True, True, False]])
    zeroed = weight.masked_fill(absent, 0).requires_grad_()
    out_zero = run(aggregator, x, index, weight_QK=zeroed)
    out_invalid = run(aggregator, x, index, weight_QK=weight, valid_QK=~absent)
    torch.testing.assert_close(out_zero, out_invalid)

    grad_x, grad_weight = torch.autograd.grad(out_zero.sum(), [x, zeroed])
    torch.testing.assert_close(grad_x, torch.autograd.grad(out_invalid.sum(), x)[0])
    assert not grad_x[absent].any()
    assert grad_weight.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_weights_that_are_all_zero_give_zero(dtype):
    aggregator = make(4, dtype, zero_init=False, blocks=2)
    weight = torch.zeros(2, 5, dtype=dtype, requires_grad=True)
    x = torch.randn(2, 5, 4, dtype=dtype, requires_grad=True)
    out_QC = run(aggregator, x, random_index(2, 5), weight_QK=weight)
    assert not out_QC.any()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(out_QC.sum(), [x, weight]))


def test_the_order_of_the_kept_cells_does_not_matter():
    torch.manual_seed(0)
    aggregator = make(4, zero_init=False, blocks=2)
    x, index = torch.randn(3, 7, 4, dtype=torch.float64), random_index(3, 7)
    order = torch.randperm(7)
    torch.testing.assert_close(run(aggregator, x[:, order], index[:, order]), run(aggregator, x, index))


def test_starts_as_the_sum_of_the_cells():
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(run(make(4, blocks=2), x, random_index(2, 5)), x.sum(1))
    assert not torch.allclose(run(make(4, zero_init=False), x, random_index(2, 5)), x.sum(1))


def test_coordinates_are_those_of_the_kept_cells():
    torch.manual_seed(0)
    x, here, there = torch.randn(1, 3, 4).double(), torch.tensor([[0, 1, 2]]), torch.tensor([[17, 5, 11]])
    aware, blind = make(4, zero_init=False), make(4, zero_init=False, coordinates=False)
    assert not torch.allclose(run(aware, x, here), run(aware, x, there))
    assert torch.equal(run(blind, x, here), run(blind, x, there))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_close_to_float32(dtype, autocast):
    torch.manual_seed(0)
    aggregator = make(8, torch.float32, zero_init=False, heads=2)
    x, index = torch.randn(2, 6, 8), random_index(2, 6)
    parts = {"valid_QK": torch.arange(6) < torch.tensor([[6], [2]]), "weight_QK": torch.rand(2, 6) + 0.1}
    expected_QC = run(aggregator, x, index, **parts)
    if autocast:
        with torch.autocast("cpu", dtype=dtype):
            out_QC = run(aggregator, x, index, **parts)
    else:
        out_QC = run(aggregator.to(dtype), x.to(dtype), index, **parts)
        assert out_QC.dtype == dtype
    torch.testing.assert_close(out_QC.float(), expected_QC, rtol=0.05, atol=0.05)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(
        ValueError,
        match=r"width = 5 \(half of 10 channels\) does not divide into heads = 2; set width to a multiple",
    ):
        make(10, heads=2)
    with pytest.raises(ValueError, match=r"width = 6 does not divide into heads = 4"):
        make(10, heads=4, width=6)
    with pytest.raises(ValueError, match="0 is out of range; it must be at least 1"):
        Config(heads=0)
