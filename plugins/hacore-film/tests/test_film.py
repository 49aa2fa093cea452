"""FiLM against the formulas of its docstring, one question, one cell and one tap of a kernel at a time."""

import attrs
import pytest
import torch
from hacore_film import Config
from hacore_film.film import FiLM
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


def fuser(grid=(2, 3), cell_channels=3, question_channels=4, dtype=torch.float64, **options):
    sizes = Sizes(
        image=(3, 8, 8),
        words=5,
        answers=2,
        grid=grid,
        cell_channels=cell_channels,
        question_channels=question_channels,
    )
    return build(FiLM, Config(**{"width": 5, **options}), sizes).to(dtype)


def inputs(images, questions, grid=(2, 3), *, cell_channels=3, question_channels=4, dtype=torch.float64):
    features = torch.randn(images, grid[0] * grid[1], cell_channels, dtype=dtype)
    cells = Cells(features=features.requires_grad_(), positions=grid_positions(grid), grid=grid)
    question_QC = torch.randn(questions, question_channels, dtype=dtype).requires_grad_()
    return cells, question_QC, torch.randint(0, images, (questions,))


def normalised(rows, norm, training):
    """Each channel of a list of vectors, by the mean and variance of the list or those that are kept."""
    x_RC = torch.stack(rows)
    if training and len(rows) > 1:
        mean_C, variance_C = x_RC.mean(0), x_RC.var(0, unbiased=False)
    else:
        mean_C, variance_C = norm.running_mean, norm.running_var
    return [(x_C - mean_C) / (variance_C + 1e-5).sqrt() for x_C in rows]


def halves(model, block, grids, places):
    """h and y of a block, a list of vectors for each grid of them; y is before the question."""
    config, (rows, columns) = model.config, model.sizes.grid
    h = []
    for grid in grids:
        entered = [
            torch.cat([x, at]) if config.coordinates else x for x, at in zip(grid, places, strict=True)
        ]
        h.append([torch.relu(block.enter.weight @ x + block.enter.bias) for x in entered])
    y = []
    reach = config.kernel // 2
    for grid in h:
        for row in range(rows):
            for column in range(columns):
                total = torch.zeros_like(grid[0]) if block.mix.bias is None else block.mix.bias
                for down in range(-reach, reach + 1):
                    for right in range(-reach, reach + 1):
                        if 0 <= row + down < rows and 0 <= column + right < columns:
                            tap = block.mix.weight[:, :, reach + down, reach + right]
                            total = total + tap @ grid[(row + down) * columns + column + right]
                y.append(total)
    if config.norm == "batch":
        y = normalised(y, block.norm, model.training)
    if config.norm == "layer":
        y = [(v - v.mean()) / (v.var(unbiased=False) + 1e-5).sqrt() for v in y]
    cells = rows * columns
    return h, [y[first : first + cells] for first in range(0, len(y), cells)]


def plain(model, cells, question_QC, image_index_Q):
    config, places = model.config, cells.positions.to(question_QC.dtype)
    asked = list(question_QC)
    if config.normalise:
        asked = normalised(asked, model.norm, model.training)
    factors = [model.factors.weight @ q + model.factors.bias for q in asked]
    grids, rows = [list(x_NC) for x_NC in cells.features], image_index_Q.tolist()
    for number, block in enumerate(model.blocks):
        h, y = halves(model, block, grids, places)
        grids = []
        for question, row in enumerate(rows):
            gain_at = number * config.width
            shift_at = (config.blocks + number) * config.width
            gain = 1 + factors[question][gain_at : gain_at + config.width]
            shift = factors[question][shift_at : shift_at + config.width]
            grids.append(
                [h_W + torch.relu(gain * y_W + shift) for h_W, y_W in zip(h[row], y[row], strict=True)]
            )
        rows = range(len(rows))
    return torch.stack([torch.stack(grid) for grid in grids])


options_drawn = st.fixed_dictionaries(
    {
        "blocks": st.integers(1, 3),
        "kernel": st.sampled_from([1, 3]),
        "coordinates": st.booleans(),
        "norm": st.sampled_from(["batch", "layer", "off"]),
        "normalise": st.booleans(),
    }
)


@settings(max_examples=25, deadline=None)
@given(
    options=options_drawn,
    images=st.integers(1, 3),
    questions=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    training=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_formula(options, images, questions, grid, training, seed):
    # The images are drawn, so some have no question, some several, in no order.
    torch.manual_seed(seed)
    model = fuser(grid, **options)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    model.train(training)
    cells, question_QC, image_index_Q = inputs(images, questions, grid)
    # Before the model, as training moves the statistics that stand in for those of one vector.
    expected = plain(model, cells, question_QC, image_index_Q)
    fused = model(cells, Question(question_QC), image_index_Q)
    assert (fused.grid, fused.positions is cells.positions, model.out_channels) == (grid, True, 5)
    index_QK = torch.randint(0, grid[0] * grid[1], (questions, 2))
    kept = fused.gather(index_QK)  # before all cells are asked for, as a selector does
    torch.testing.assert_close(kept, expected.gather(1, index_QK[..., None].expand(-1, -1, 5)))
    torch.testing.assert_close(torch.cat(list(fused.blocks())), expected)
    torch.testing.assert_close(fused.features, expected)

    wanted = [cells.features, question_QC, *model.parameters()]
    direction = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(fused.features, wanted, direction, retain_graph=True),
        torch.autograd.grad(expected, wanted, direction, retain_graph=True),
        rtol=1e-5,
        atol=1e-6,
    )
    torch.testing.assert_close(
        torch.autograd.grad(kept.square().sum(), wanted),
        torch.autograd.grad(expected.gather(1, index_QK[..., None].expand(-1, -1, 5)).square().sum(), wanted),
        rtol=1e-5,
        atol=1e-6,
    )


def multiply_adds(questions, **options):
    cells, question_QC, _ = inputs(2, questions, (4, 5), cell_channels=50)
    model = fuser((4, 5), cell_channels=50, **options).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(cells, Question(question_QC), torch.arange(questions) % 2)
    return counter.get_total_flops() // 2


def test_the_first_block_is_computed_once_per_image():
    factors = 2 * 4 * 5
    assert multiply_adds(9, blocks=1) - multiply_adds(3, blocks=1) == 6 * factors
    # The second is not.
    assert multiply_adds(9, blocks=2) - multiply_adds(3, blocks=2) > 6 * 20 * 5 * 5


def test_a_kernel_of_one_keeps_cells_to_themselves():
    torch.manual_seed(0)
    for kernel, reached in ((1, 1), (3, 4)):
        model = fuser((4, 5), kernel=kernel, blocks=1).eval()
        cells, question_QC, image_index_Q = inputs(1, 1, (4, 5))
        model(cells, Question(question_QC), image_index_Q).features[0, 0].sum().backward()
        # A cell of the corner has three neighbours.
        assert int(cells.features.grad[0].any(1).sum()) == reached


def test_layer_norm_lets_questions_of_a_training_batch_be_independent():
    torch.manual_seed(0)
    cells, question_QC, image_index_Q = inputs(2, 5)
    for norm, independent in (("layer", True), ("batch", False)):
        model = fuser(norm=norm, normalise=False).train()
        all_QNW = model(cells, Question(question_QC), image_index_Q).features
        alone = model(cells, Question(question_QC[:1]), image_index_Q[:1]).features
        assert torch.allclose(alone, all_QNW[:1]) == independent


def test_normalised_questions_of_tiny_spread_still_give_different_factors():
    torch.manual_seed(0)
    question_QC = (0.1 + 0.01 * torch.randn(400, 4)).double()
    cells, _, _ = inputs(1, 1)
    spread = {}
    for normalise in (True, False):
        model = fuser(normalise=normalise, blocks=1)
        fused = model(cells, Question(question_QC), torch.zeros(400, dtype=torch.long))
        spread[normalise] = fused.features.std(0).mean()
    assert spread[True] > 20 * spread[False]


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.float32])
def test_low_precision(dtype, norm):
    torch.manual_seed(0)
    model = fuser(dtype=dtype, norm=norm)
    cells, question_QC, image_index_Q = inputs(2, 5, dtype=dtype)
    fused = model(cells, Question(question_QC), image_index_Q).features
    assert fused.dtype == dtype
    exact = model.double()(
        attrs.evolve(cells, features=cells.features.double()), Question(question_QC.double()), image_index_Q
    )
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(fused.double(), exact.features, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_under_autocast_it_stays_near_float32(norm):
    torch.manual_seed(0)
    model = fuser(dtype=torch.float32, norm=norm, blocks=1).train()
    cells, question_QC, image_index_Q = inputs(64, 64, dtype=torch.float32)
    exact = model(cells, Question(question_QC), image_index_Q).features
    with torch.autocast("cpu", torch.bfloat16):
        half = model(cells, Question(question_QC), image_index_Q).features
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.1)


def test_running_statistics_under_autocast_are_those_of_float64():
    torch.manual_seed(0)
    model = fuser((6, 7), dtype=torch.float32).train()
    mixed = []
    for block in model.blocks:
        block.mix.register_forward_hook(lambda _, args, result: mixed.append(result.detach().double()))
    cells, question_QC, image_index_Q = inputs(20, 60, (6, 7), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        model(cells, Question(question_QC), image_index_Q)
    for block, y_RWHV in zip(model.blocks, mixed, strict=True):
        y_WX = y_RWHV.transpose(0, 1).flatten(1)
        assert block.norm.running_mean.dtype == block.norm.running_var.dtype == torch.float32
        mean_W, var_W = block.norm.running_mean.double(), block.norm.running_var.double()
        torch.testing.assert_close(mean_W, 0.1 * y_WX.mean(1), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(var_W, 0.9 + 0.1 * y_WX.var(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kernel": 2}, "odd"), ({"blocks": 0}, "out of range"), ({"width": 0}, "out of range")],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
