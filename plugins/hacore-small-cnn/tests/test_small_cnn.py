import subprocess
import sys

import attrs
import pytest
import torch
from hacore_small_cnn import Config
from hacore_small_cnn.encoder import SmallCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hacore.interfaces import Sizes, build, grid_positions
from hacore.testing import contract

TestContract = contract("image_encoder", "small-cnn", channels=(8, 8))
TestContractGroupNorm = contract("image_encoder", "small-cnn", channels=(8, 16), norm="group", groups=4)
TestContractNoNorm = contract("image_encoder", "small-cnn", channels=(8,), norm="off")


def encoder(height=20, width=20, **options):
    sizes = Sizes(
        image=(3, height, width), image_mean=(0.5, 0.4, 0.3), image_std=(0.2, 0.3, 0.1), words=5, answers=2
    )
    return build(SmallCNN, Config(**options), sizes)


def test_declaring_imports_no_torch():
    code = "import sys, hacore_small_cnn as p; p.hacore_declare(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(30, 60),
    width=st.integers(30, 60),
    kernel=st.integers(1, 6),
    strides=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    norm=st.sampled_from(["batch", "group", "off"]),
)
def test_grid_and_channels_are_those_of_the_output(height, width, kernel, strides, norm):
    channels = (8, 16, 8)[: len(strides)]
    model = encoder(height, width, channels=channels, kernel=kernel, strides=tuple(strides), norm=norm)
    cells = model(torch.rand(2, 3, height, width))
    assert cells.grid == model.grid
    assert cells.features.shape == (2, model.grid[0] * model.grid[1], model.out_channels)
    assert model.out_channels == channels[-1]
    torch.testing.assert_close(cells.positions, grid_positions(model.grid))


@pytest.mark.parametrize("norm", ["batch", "group", "off"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_features_and_gradients_equal_the_plain_formula(norm, dtype):
    torch.manual_seed(0)
    groups = 2 if norm == "group" else None
    model = encoder(13, 9, channels=(4, 6), strides=(2, 1), norm=norm, groups=groups).double()
    pixels = torch.randint(0, 256, (3, 3, 13, 9), dtype=torch.uint8)
    images = pixels if dtype == torch.uint8 else pixels.double() / 255

    convolutions = [layer for layer in model.layers if isinstance(layer, torch.nn.Conv2d)]
    assert all((layer.bias is not None) == (norm == "off") for layer in convolutions)
    x = pixels.double() / 255
    mean, std = torch.tensor([0.5, 0.4, 0.3]).double(), torch.tensor([0.2, 0.3, 0.1]).double()
    x = (x - mean[:, None, None]) / std[:, None, None]
    for convolution, stride in zip(convolutions, (2, 1), strict=True):
        x = F.conv2d(x, convolution.weight, convolution.bias, stride=stride, padding=1)
        if norm != "off":
            # Axes the statistics are taken over, after channels are cut into groups.
            parts = x.shape[1] if norm == "batch" else 2
            y = x.unflatten(1, (parts, -1))
            over = (0, 2, 3, 4) if norm == "batch" else (2, 3, 4)
            variance = y.var(over, correction=0, keepdim=True)
            x = ((y - y.mean(over, keepdim=True)) / (variance + 1e-5).sqrt()).flatten(1, 2)
        x = x.clamp(min=0)
    by_cell = torch.stack(
        [x[:, :, row, column] for row in range(x.shape[2]) for column in range(x.shape[3])], dim=1
    )
    features = model(images).features
    torch.testing.assert_close(features, by_cell, rtol=1e-6, atol=1e-6)
    weights = [layer.weight for layer in convolutions]
    seed = torch.randn_like(features)
    for ours, plain in zip(
        torch.autograd.grad(features, weights, seed), torch.autograd.grad(by_cell, weights, seed), strict=True
    ):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-6)


def test_one_stride_holds_for_all_layers():
    assert encoder(75, 75).grid == (5, 5)
    assert encoder(75, 75, strides=(2, 2, 2, 2)).grid == (5, 5)
    assert encoder(128, 96, channels=(24,) * 4).grid == (8, 6)


def test_positions_are_not_saved():
    assert "positions" not in encoder().state_dict()
    assert {"image_mean", "image_std"} < set(encoder().state_dict())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": (8, 8), "strides": (2, 2, 2)}, "strides has 3 entries and channels 2"),
        ({"channels": ()}, "empty"),
        ({"channels": (8, 0)}, "at least 1"),
        ({"strides": ()}, "empty"),
        ({"norm": "group", "groups": 3}, "groups = 3 does not divide the 32 channels"),
        ({"norm": "group", "channels": (12,)}, "groups = 8 does not divide the 12 channels"),
        ({"groups": 4}, "no use with norm = 'batch'"),
    ],
)
def test_options_that_do_not_go_together(options, words):
    with pytest.raises(ValueError, match=words):
        Config(**options)


def test_image_too_small():
    with pytest.raises(ValueError, match=r"8x20 are too small: layer 4 of 4 would move by 2 over a 1x3 grid"):
        encoder(8, 20)


def test_every_option_has_help():
    assert all(field.metadata["help"] for field in attrs.fields(Config))
