import pytest
import torch
from hacore_soft_attention import Config
from hacore_soft_attention.soft_attention import SoftAttention

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


def make(grid, channels, dtype=torch.float32, **options):
    sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=channels)
    selector = build(SoftAttention, Config(**options), sizes).to(dtype)

    def select(x_QNC):
        cells = Cells(features=x_QNC, positions=grid_positions(grid).to(dtype), grid=grid)
        return selector(cells, Question(torch.zeros(len(x_QNC), 7)))

    return selector, select


def weights_by_loop(selector, x_QNC):
    """The formula, one question and one cell at a time."""
    rows = []
    for m_NC in x_QNC:
        attended_C = None
        for hop in selector.hops:
            logits = []
            for m_C in m_NC:
                inner = hop.hidden.weight @ m_C + hop.hidden.bias
                if attended_C is not None:
                    inner = inner + hop.query.weight @ attended_C
                logits.append(hop.score.weight[0] @ torch.tanh(inner))
            exp = [torch.exp(logit) for logit in logits]
            p = [value / sum(exp) for value in exp]
            attended_C = sum(p_i * m_C for p_i, m_C in zip(p, m_NC, strict=True))
        rows.append(torch.stack(p))
    return torch.stack(rows)


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize(("questions", "grid", "channels", "width"), [(1, (1, 1), 3, 2), (3, (2, 4), 5, 7)])
def test_weights_and_their_gradients_are_those_of_the_formula(hops, questions, grid, channels, width):
    torch.manual_seed(0)
    selector, select = make(grid, channels, torch.float64, hops=hops, width=width)
    x_QNC = torch.randn(questions, grid[0] * grid[1], channels, dtype=torch.float64, requires_grad=True)
    expected_QN = weights_by_loop(selector, x_QNC)
    selection = select(x_QNC)
    torch.testing.assert_close(selection.weight_QK, expected_QN)

    factor_QN = torch.randn_like(expected_QN)
    wanted = [x_QNC, *selector.parameters()]
    grads = torch.autograd.grad((selection.weight_QK * factor_QN).sum(), wanted)
    grads_expected = torch.autograd.grad((expected_QN * factor_QN).sum(), wanted)
    torch.testing.assert_close(grads, grads_expected)
    assert all(grad.any() for grad in grads) or x_QNC.shape[1] == 1


def test_every_cell_goes_on_in_grid_order_without_a_copy():
    _, select = make((2, 3), 4)
    x_QNC = torch.randn(2, 6, 4)
    selection = select(x_QNC)
    assert selection.features_QKC is x_QNC
    assert selection.index_QK.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert selection.index_QK.dtype == torch.int64
    assert selection.valid_QK is None
    torch.testing.assert_close(selection.weight_QK.sum(1), torch.ones(2))
    assert selection.weight_QK.requires_grad
    assert not selection.presence_QN.requires_grad
    assert torch.equal(selection.presence_QN, selection.weight_QK)


def test_equal_cells_share_the_weight_equally():
    _, select = make((2, 2), 3, hops=2)
    torch.testing.assert_close(select(torch.full((1, 4, 3), 0.7)).weight_QK, torch.full((1, 4), 0.25))


def test_permuted_cells_get_permuted_weights():
    torch.manual_seed(0)
    _, select = make((3, 3), 4, torch.float64, hops=2)
    x_QNC = torch.randn(2, 9, 4, dtype=torch.float64)
    order = torch.randperm(9)
    torch.testing.assert_close(select(x_QNC[:, order]).weight_QK, select(x_QNC).weight_QK[:, order])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_float32_and_sum_to_one(dtype):
    torch.manual_seed(0)
    _, select = make((10, 10), 8, dtype, hops=2)
    weight_QK = select(torch.randn(2, 100, 8, dtype=dtype)).weight_QK
    assert weight_QK.dtype == torch.float32
    torch.testing.assert_close(weight_QK.sum(1), torch.ones(2))


def test_autocast_gives_nearly_the_same_weights():
    torch.manual_seed(0)
    _, select = make((4, 4), 8, hops=2)
    x_QNC = torch.randn(2, 16, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight_QK = select(x_QNC).weight_QK
    torch.testing.assert_close(weight_QK, select(x_QNC).weight_QK, rtol=0.05, atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_cell_that_is_not_finite_is_refused(value):
    _, select = make((3, 3), 2)
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match=r"question 1 of the batch has 1 of 9 cells .* not finite"):
        select(x_QNC)


def test_options_out_of_range_are_refused():
    for options in ({"hops": 0}, {"hops": 3}, {"width": 0}):
        with pytest.raises(ValueError, match="is out of range; it must be at"):
            Config(**options)
