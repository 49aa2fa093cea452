import subprocess
import sys

import attrs
import pytest
import torch
from hacore_fuse import Config, ImageOnlyConfig, MultiplyConfig
from hacore_fuse.fusers import Add, Concat, ImageOnly, Multiply
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions
from hacore.testing import contract

TestContractAdd = contract("fuser", "add", width=8)
TestContractConcat = contract("fuser", "concat", width=8, layers=2)
TestContractMultiply = contract("fuser", "multiply", width=8)
TestContractBare = contract("fuser", "multiply", width=8, layers=0, coordinates=False, gain_std=0.5)


class TestContractImageOnly(contract("fuser", "image-only")):
    moving_inputs = ("features",)  # the question has no part in it


CLASSES = {"add": (Add, Config), "concat": (Concat, Config), "multiply": (Multiply, MultiplyConfig)}
NAMES = list(CLASSES)


def fuser(name, cell_channels=3, question_channels=4, grid=(2, 3), dtype=torch.float64, **options):
    cls, config = CLASSES[name]
    sizes = Sizes(
        image=(3, 8, 8),
        words=5,
        answers=2,
        grid=grid,
        cell_channels=cell_channels,
        question_channels=question_channels,
    )
    return build(cls, config(**{"width": 5, **options}), sizes).to(dtype)


def inputs(images, questions, *, cell_channels=3, question_channels=4, grid=(2, 3), dtype=torch.float64):
    features = torch.randn(images, grid[0] * grid[1], cell_channels, dtype=dtype)
    cells = Cells(features=features.requires_grad_(), positions=grid_positions(grid), grid=grid)
    question_QC = torch.randn(questions, question_channels, dtype=dtype).requires_grad_()
    return cells, question_QC, torch.randint(0, images, (questions,))


def plain(name, model, cells, question_QC, image_index_Q):
    """One question, one cell at a time, straight from the formulas."""

    def affine(layer, x):
        product = layer.weight @ x
        return product if layer.bias is None else product + layer.bias

    if name == "multiply" and model.config.normalise:
        if model.training and len(question_QC) > 1:
            mean_C, variance_C = question_QC.mean(0), question_QC.var(0, unbiased=False)
        else:
            mean_C, variance_C = model.norm.running_mean, model.norm.running_var
        question_QC = (question_QC - mean_C) / (variance_C + 1e-5).sqrt()
    results = []
    for question, image in zip(question_QC, image_index_Q.tolist(), strict=True):
        for x, place in zip(cells.features[image], cells.positions.to(question.dtype), strict=True):
            if model.config.coordinates:
                x = torch.cat([x, place])
            if name == "add":
                m = affine(model.image, x) + affine(model.question, question)
            elif name == "concat":
                m = affine(model.joint, torch.cat([x, question]))
            else:
                m = affine(model.image, x) * affine(model.gain, question) + affine(model.shift, question)
            linears = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
            assert len(linears) == model.config.layers
            if linears:
                m = torch.where(m > 0, m, 0)
            for layer in linears:
                m = affine(layer, m)
                m = torch.where(m > 0, m, 0)
            results.append(m)
    return torch.stack(results).reshape(len(question_QC), -1, model.config.width)


def test_declaring_imports_no_torch():
    code = "import sys, hacore_fuse as p; p.hacore_declare(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(
    images=st.integers(1, 4),
    questions=st.integers(1, 6),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    layers=st.integers(0, 2),
    coordinates=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_formula(name, images, questions, grid, layers, coordinates, seed):
    # The images are drawn, so some have no question, some several, in no order.
    torch.manual_seed(seed)
    model = fuser(name, grid=grid, layers=layers, coordinates=coordinates)
    cells, question_QC, image_index_Q = inputs(images, questions, grid=grid)
    fused = model(cells, Question(question_QC), image_index_Q)
    assert (fused.grid, model.out_channels) == (grid, 5)
    assert fused.positions is cells.positions
    expected = plain(name, model, cells, question_QC, image_index_Q)
    torch.testing.assert_close(fused.features, expected)
    wanted = [cells.features, question_QC, *model.parameters()]
    seeds = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(fused.features, wanted, seeds),
        torch.autograd.grad(expected, wanted, seeds),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_image_only_copies_the_cells():
    cells, question_QC, image_index_Q = inputs(3, 7)
    sizes = Sizes(image=(3, 8, 8), words=5, answers=2, grid=(2, 3), cell_channels=3, question_channels=4)
    model = build(ImageOnly, ImageOnlyConfig(), sizes)
    fused = model(cells, Question(question_QC), image_index_Q)
    assert (model.out_channels, list(model.parameters())) == (3, [])
    assert torch.equal(fused.features, cells.features[image_index_Q])
    fused.features.sum().backward()
    counts = torch.bincount(image_index_Q, minlength=3).double()
    assert torch.equal(cells.features.grad, counts[:, None, None].expand(3, 6, 3))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_questions_gets_no_gradient(name):
    model = fuser(name)
    cells, question_QC, _ = inputs(3, 4)
    model(cells, Question(question_QC), torch.tensor([2, 0, 2, 0])).features.sum().backward()
    assert not cells.features.grad[1].any()
    assert cells.features.grad[0].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("coordinates", [True, False])
def test_the_image_half_is_computed_once_per_image(name, coordinates):
    def multiply_adds(questions):
        cells, question_QC, _ = inputs(2, questions, cell_channels=50, grid=(4, 5))
        model = fuser(name, cell_channels=50, grid=(4, 5), layers=0, coordinates=coordinates)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(cells, Question(question_QC), torch.arange(questions) % 2)
        return counter.get_total_flops() // 2

    of_one_question = 4 * 5 * (2 if name == "multiply" else 1)
    assert multiply_adds(9) - multiply_adds(3) == 6 * of_one_question
    assert multiply_adds(3) - 3 * of_one_question == 20 * 5 * (2 * 50 + (2 if coordinates else 0))


@pytest.mark.parametrize("coordinates", [True, False])
def test_concat_is_a_linear_layer_on_the_concatenation(coordinates):
    torch.manual_seed(5)
    model = fuser("concat", layers=0, coordinates=coordinates)
    torch.manual_seed(5)
    joint = nn.Linear(3 + 2 * coordinates + 4, 5).double()
    cells, question_QC, image_index_Q = inputs(3, 7)
    parts = [cells.features[image_index_Q], question_QC[:, None].expand(-1, 6, -1)]
    if coordinates:
        parts.insert(1, cells.positions.double().expand(7, -1, -1))
    fused = model(cells, Question(question_QC), image_index_Q).features
    torch.testing.assert_close(fused, joint(torch.cat(parts, dim=2)))


@pytest.mark.parametrize("name", NAMES)
def test_zero_layers_have_no_relu_and_more_have(name):
    torch.manual_seed(0)
    cells, question_QC, image_index_Q = inputs(3, 7)
    assert (fuser(name, layers=0)(cells, Question(question_QC), image_index_Q).features < 0).any()
    features = fuser(name, layers=1)(cells, Question(question_QC), image_index_Q).features
    assert (features >= 0).all()
    assert (features > 0).any()


def test_normalised_questions_of_tiny_spread_still_give_different_gains():
    torch.manual_seed(0)
    question_QC = (0.1 + 0.01 * torch.randn(400, 6)).double()
    cells = inputs(1, 1)[0]
    image_index_Q = torch.zeros(400, dtype=torch.long)
    spread = {}
    for normalise in (True, False):
        model = fuser("multiply", question_channels=6, layers=0, normalise=normalise)
        nn.init.zeros_(model.shift.weight)
        spread[normalise] = model(cells, Question(question_QC), image_index_Q).features.std(0).mean()
    assert spread[True] > 20 * spread[False]


@pytest.mark.parametrize("gain_std", [1.0, 0.25])
def test_gain_starts_with_the_deviation_asked_for(gain_std):
    torch.manual_seed(0)
    model = fuser("multiply", question_channels=100, width=200, gain_std=gain_std)
    gain = model.gain(torch.randn(400, 100).double())
    assert gain.std().item() == pytest.approx(gain_std, rel=0.03)
    assert gain.mean().item() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.float32])
def test_low_precision(name, dtype):
    torch.manual_seed(0)
    model = fuser(name, dtype=dtype)
    cells, question_QC, image_index_Q = inputs(2, 5, dtype=dtype)
    fused = model(cells, Question(question_QC), image_index_Q).features
    assert fused.dtype == dtype
    exact = model.double()(
        attrs.evolve(cells, features=cells.features.double()), Question(question_QC.double()), image_index_Q
    )
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(fused.double(), exact.features, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_as_they_are(name):
    model = fuser(name, layers=2)
    cells, question_QC, image_index_Q = inputs(2, 5)
    before = cells.features.clone(), question_QC.clone(), cells.positions.clone()
    with torch.no_grad():
        first = model(cells, Question(question_QC), image_index_Q).features
        kept = first.clone()
        model(cells, Question(question_QC), image_index_Q)
    assert torch.equal(first, kept)
    for now, then in zip((cells.features, question_QC, cells.positions), before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (Config, {"width": 0}),
        (Config, {"layers": -1}),
        (MultiplyConfig, {"gain_std": 0.0}),
    ],
)
def test_options_out_of_range(config, options):
    with pytest.raises(ValueError, match="out of range"):
        config(**options)


def test_every_option_has_help():
    for config in (Config, MultiplyConfig):
        assert all(field.metadata["help"] for field in attrs.fields(config))
