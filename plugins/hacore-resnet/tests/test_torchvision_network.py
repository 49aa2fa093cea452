"""The image encoder "torchvision": any network cut at a layer, against torchvision's own modules."""

import copy
import dataclasses
import io
import re
from functools import partial

import pytest
import torch
import torchvision
from hacore_resnet import NetworkConfig
from hacore_resnet.network import Network
from safetensors.torch import save_file
from torchvision.transforms._presets import ImageClassification

import hacore
from hacore.errors import ComposeError, DataError
from hacore.interfaces import Sizes, build, grid_positions
from hacore.testing import contract

TestContractTrained = contract("image_encoder", "torchvision", layer="features.3", frozen=False)
TestContractFrozen = contract("image_encoder", "torchvision", model="squeezenet1_1", layer="features.4")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def encoder(height=40, width=52, **options):
    return build(Network, NetworkConfig(**options), Sizes(image=(3, height, width), words=5, answers=2))


def spoiled(name):
    """A network of torchvision with statistics of its own in every batch norm."""
    torch.manual_seed(4)
    whole = torchvision.models.get_model(name, weights=None)
    for module in whole.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return whole.eval()


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """MobileNetV2 and a file of its state dict."""
    whole = spoiled("mobilenet_v2")
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.safetensors"
    save_file(whole.state_dict(), path)
    return whole, str(path)


def normalised(pixels, mean=MEAN, std=STD):
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (mean, std))
    return (pixels / 255 - mean) / std


def by_cell(map_ICHW):
    return map_ICHW.permute(0, 2, 3, 1).reshape(len(map_ICHW), -1, map_ICHW.shape[1])


@pytest.mark.parametrize("count", [1, 7, 19])
def test_a_layer_equals_torchvisions_own(count, mobilenet):
    whole, path = mobilenet
    model = encoder(layer=f"features.{count - 1}", weights=path)
    pixels = torch.randint(0, 256, (2, 3, 40, 52), dtype=torch.uint8)
    with torch.no_grad():
        expected = whole.features[:count](normalised(pixels))
    cells = model(pixels)
    assert cells.grid == model.grid == tuple(expected.shape[2:])
    assert model.out_channels == expected.shape[1]
    torch.testing.assert_close(cells.features, by_cell(expected))
    torch.testing.assert_close(cells.positions, grid_positions(model.grid))


def test_a_layer_within_a_layer(mobilenet):
    whole, path = mobilenet
    model = encoder(layer="features.2.conv.2", weights=path)
    pixels = torch.randint(0, 256, (1, 3, 40, 52), dtype=torch.uint8)
    with torch.no_grad():
        expected = whole.features[2].conv[:3](whole.features[:2](normalised(pixels)))
    torch.testing.assert_close(model(pixels).features, by_cell(expected))


def test_what_follows_does_not_change_a_layer_in_place():
    """A convolution whose activation would write over it."""
    model = encoder(model="squeezenet1_1", layer="features.0", frozen=False)
    whole = torchvision.models.squeezenet1_1(weights=None)
    assert whole.features[1].inplace
    model.trunk.load_state_dict(whole.state_dict(), strict=False)
    images = torch.rand(1, 3, 40, 52)
    expected = whole.features[0](images)
    assert (expected < 0).any()
    torch.testing.assert_close(model(images).features, by_cell(expected))


def test_swin_transformers_have_channels_last():
    model = encoder(64, 96, model="swin_t", layer="features.1", frozen=False).eval()
    pixels = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    torch.manual_seed(1)
    whole = torchvision.models.swin_t(weights=None).eval()
    model.trunk.load_state_dict(whole.state_dict(), strict=False)
    with torch.no_grad():
        expected_IHWC = whole.features[:2](pixels / 255)
    cells = model(pixels)
    assert (cells.grid, model.out_channels) == ((16, 24), 96)
    torch.testing.assert_close(cells.features, expected_IHWC.flatten(1, 2))


def test_later_layers_are_dropped(mobilenet):
    path = mobilenet[1]
    kept = {name.split(".")[1] for name in encoder(layer="features.4", weights=path).trunk.state_dict()}
    assert kept == {"0", "1", "2", "3", "4"}


def test_frozen_keeps_its_statistics_and_trained_does_not(mobilenet):
    path = mobilenet[1]
    images = torch.rand(3, 3, 40, 52)
    for frozen in (True, False):
        model = encoder(layer="features.3", weights=path, frozen=frozen).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        features = model(images).features
        assert features.requires_grad != frozen
        changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
        assert bool(changed) != frozen
        if not frozen:
            features.sum().backward()
            assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_copy_is_in_the_mode_of_the_original(mobilenet):
    images = torch.rand(2, 3, 40, 52)
    for frozen, training in ((True, True), (False, False)):
        model = encoder(layer="features.3", weights=mobilenet[1], frozen=frozen).train(training)
        copied = copy.deepcopy(model)
        assert torch.equal(copied(images).features, model(images).features)
        assert all(
            torch.equal(value, copied.state_dict()[name]) for name, value in model.state_dict().items()
        )


def test_pool_averages_the_grid():
    model = encoder(64, 96, layer="features.6", pool=(4, 3))
    plain = encoder(64, 96, layer="features.6")
    plain.load_state_dict(model.state_dict())
    assert (plain.grid, model.grid) == ((8, 12), (4, 3))
    images = torch.rand(2, 3, 64, 96)
    grid = plain(images).features.unflatten(1, (4, 2, 3, 4)).mean((2, 4)).flatten(1, 2)
    torch.testing.assert_close(model(images).features, grid)


def test_the_mean_and_deviation_are_those_of_the_weights(mobilenet, monkeypatch):
    path = mobilenet[1]
    model = encoder(layer="features.0", weights=path)
    torch.testing.assert_close(model.image_mean.flatten(), torch.tensor(MEAN))
    torch.testing.assert_close(model.image_std.flatten(), torch.tensor(STD))
    default = torchvision.models.MobileNet_V2_Weights.DEFAULT
    other = partial(ImageClassification, crop_size=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.6))
    monkeypatch.setattr(default, "_value_", dataclasses.replace(default.value, transforms=other))
    model = encoder(layer="features.0", weights=path)
    torch.testing.assert_close(model.image_mean.flatten(), torch.tensor((0.5, 0.4, 0.3)))
    torch.testing.assert_close(model.image_std.flatten(), torch.tensor((0.2, 0.1, 0.6)))


def test_published_files_of_densenets_name_their_layers_in_another_way(tmp_path):
    state = spoiled("densenet121").state_dict()
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: value
        for name, value in state.items()
    }
    assert old.keys() != state.keys()
    save_file(old, tmp_path / "old.safetensors")
    model = encoder(
        model="densenet121", layer="features.denseblock1", weights=str(tmp_path / "old.safetensors")
    )
    for name, value in model.trunk.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(
    ("model", "layer"),
    [("vgg11", "features.15"), ("googlenet", "inception4a"), ("convnext_tiny", "features.5")],
)
def test_other_networks(model, layer):
    with torch.device("meta"):
        network = encoder(96, 128, model=model, layer=layer, weights="nowhere/there.pth")
        cells = network(torch.empty(2, 3, 96, 128))
    assert network.grid == (6, 8)
    assert cells.features.shape == (2, 48, network.out_channels)


def test_pixels_are_as_the_weights_of_googlenet_expect_them():
    with torch.device("meta"):
        plain = encoder(96, 128, model="googlenet", layer="conv1")
        pretrained = encoder(96, 128, model="googlenet", layer="conv1", weights="IMAGENET1K_V1")
    assert len([*pretrained.trunk.graph.nodes]) > len([*plain.trunk.graph.nodes])


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"model": "mobilenet_v22"}, ("mobilenet_v22", "did you mean", "mobilenet_v2", "resnet18")),
        (
            {"layer": "features.19"},
            ("features.19", "mobilenet_v2", "features.0 to features.18", "classifier"),
        ),
        ({"layer": ""}, ("layer = ''", "features.0 to features.18")),
        ({"layer": "classifier"}, ("layer classifier", "(1, 1000)", "earlier layer")),
        ({"model": "vit_b_16", "layer": "encoder"}, ("vit_b_16", "40x52", "224")),
        ({"model": "vgg11", "layer": "features.20", "height": 9}, ("vgg11", "9x52", "larger")),
        ({"pool": (3, 1)}, ("pool = [3, 1]", "2x2", "layer features.18")),
    ],
)
def test_what_cannot_work_says_what_can(options, parts, names):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as caught, torch.device("meta"):
        encoder(**options)
    names(str(caught.value), *parts)
    assert "\n" not in str(caught.value)


def test_names_of_weights_that_are_not_known(names):
    with pytest.raises(ValueError, match="IMAGENET1K_V9") as caught:
        encoder(weights="IMAGENET1K_V9")
    names(str(caught.value), "IMAGENET1K_V9", "mobilenet_v2", "IMAGENET1K_V1, IMAGENET1K_V2", ".safetensors")


def test_a_file_of_another_network(tmp_path, small_table, names):
    path = tmp_path / "other.pth"
    content = io.BytesIO()
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), content)
    path.write_bytes(content.getvalue())
    with pytest.raises(DataError) as caught:
        encoder(weights=str(path))
    names(str(caught.value), str(path), "missing: features.0.0.weight", "check model", "mobilenet_v2")
    spec = small_table("other", image_encoder={"use": "torchvision", "weights": str(path)})
    with pytest.raises(ComposeError) as caught:
        hacore.compose(hacore.resolve(spec), Sizes(image=(3, 40, 52), words=5, answers=2))
    names(str(caught.value), "image encoder 'torchvision'", str(path))


def test_images_need_three_channels():
    sizes = Sizes(image=(1, 40, 40), image_mean=(0.5,), image_std=(1.0,), words=5, answers=2)
    with pytest.raises(ValueError, match="images have 1 channels and mobilenet_v2 takes 3"):
        build(Network, NetworkConfig(), sizes)
