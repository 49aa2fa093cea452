"""The image encoder "timm", against the forward of timm's own networks."""

import io
import subprocess
import sys

import pytest
import timm
import torch
from hacore_timm import Config
from hacore_timm.encoder import Timm
from safetensors.torch import save_file

from hacore.errors import DataError
from hacore.interfaces import Sizes, build, grid_positions
from hacore.testing import contract

TestContractConvolutions = contract("image_encoder", "timm", model="test_resnet", layer=2, frozen=False)
TestContractFrozen = contract("image_encoder", "timm", model="test_efficientnet", layer=2)

OF_THE_DATA = {"image_mean": (0.9, 0.8, 0.7), "image_std": (0.3, 0.2, 0.1)}


class TestContractTransformer(
    contract(
        "image_encoder", "timm", model="test_vit", layer=0, sizes=Sizes(image=(3, 32, 48), words=5, answers=2)
    )
):
    # Every token of a transformer attends to the whole image.
    test_cells_lie_where_the_image_changes = None


def encoder(height=64, width=96, **options):
    sizes = Sizes(image=(3, height, width), words=5, answers=2, **OF_THE_DATA)
    return build(Timm, Config(**{"model": "test_resnet", **options}), sizes)


def network(name, **options):
    """timm's own, with statistics of its own in every batch norm."""
    torch.manual_seed(5)
    whole = timm.create_model(name, **options)
    for module in whole.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return whole.eval()


@pytest.fixture
def file(tmp_path):
    """file(network): the path of its state dict."""

    def save(whole, name="weights.safetensors"):
        save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, tmp_path / name)
        return str(tmp_path / name)

    return save


def normalised(pixels, whole):
    mean, std = (torch.tensor(whole.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (pixels / 255 - mean) / std


def caught_output(module, whole, images):
    """What ``module`` gives while the network's own forward runs."""
    outputs = []
    handle = module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        whole(images)
    handle.remove()
    return outputs[0]


def test_declaring_imports_no_torch():
    code = "import sys, hacore_timm as p; p.hacore_declare(); assert not {'torch', 'timm'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("layer", [0, 1, 3, 4, -1, -4])
def test_a_stage_equals_timms_own(layer, file):
    whole = network("test_resnet")
    model = encoder(layer=layer, weights=file(whole))
    pixels = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    stage = [whole.act1, whole.layer1, whole.layer2, whole.layer3, whole.layer4][layer]
    expected = caught_output(stage, whole, normalised(pixels, whole))
    cells = model(pixels)
    assert cells.grid == model.grid == tuple(expected.shape[2:])
    assert model.out_channels == expected.shape[1]
    torch.testing.assert_close(cells.features, expected.permute(0, 2, 3, 1).flatten(1, 2))
    torch.testing.assert_close(cells.positions, grid_positions(model.grid))


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit3"])
@pytest.mark.parametrize("layer", [0, -2, -1])
def test_the_tokens_of_the_patches_equal_timms_own(name, layer, file):
    whole = network(name, img_size=(64, 96))
    model = encoder(model=name, layer=layer, weights=file(whole))
    pixels = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    module = whole.norm if layer == -1 else whole.blocks[layer]
    tokens = caught_output(module, whole, normalised(pixels, whole))
    rows, columns = model.grid
    side = whole.patch_embed.patch_size[0]
    assert (rows, columns) == (64 // side, 96 // side)
    torch.testing.assert_close(model(pixels).features, tokens[:, whole.num_prefix_tokens :])


def test_tokens_run_row_by_row(file):
    """Without attention, a patch changes its own token alone: that of its row and column."""
    whole = network("test_vit", img_size=(64, 96))
    torch.nn.init.zeros_(whole.blocks[0].attn.proj.weight)
    model = encoder(model="test_vit", layer=0, weights=file(whole))
    assert model.grid == (4, 6)
    images = torch.rand(1, 3, 64, 96)
    changed = images.clone()
    changed[:, :, 32:48, 16:32] = 0  # the third row, the second column
    difference_N = (model(images).features - model(changed).features).abs().sum(-1)[0]
    assert difference_N.nonzero().flatten().tolist() == [2 * 6 + 1]


def test_position_embeddings_are_interpolated_to_the_images(file):
    """Of a file for 160x160, from 10x10 to 4x6 patches; the class has none of its own place."""
    small = network("test_vit")
    own, places = small.pos_embed[:, :1], small.pos_embed[:, 1:].unflatten(1, (10, 10)).movedim(-1, 1)
    resized = torch.nn.functional.interpolate(places, (4, 6), mode="bicubic", antialias=True)
    expected = network("test_vit", img_size=(64, 96))
    embedding = torch.cat([own, resized.flatten(2).transpose(1, 2)], 1)
    expected.load_state_dict({**small.state_dict(), "pos_embed": embedding})
    model = encoder(model="test_vit", weights=file(small))
    torch.testing.assert_close(model.trunk.pos_embed, embedding)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        tokens = expected.forward_features(model.normalise(images))
    torch.testing.assert_close(model(images).features, tokens[:, expected.num_prefix_tokens :])


def test_the_mean_and_deviation_are_those_of_the_weights(file):
    random = encoder(frozen=False)
    torch.testing.assert_close(random.image_mean.flatten(), torch.tensor(OF_THE_DATA["image_mean"]))
    whole = network("test_vit")
    model = encoder(model="test_vit", weights=file(whole))
    assert model.image_mean.flatten().tolist() == list(whole.pretrained_cfg["mean"])
    assert model.image_std.flatten().tolist() == list(whole.pretrained_cfg["std"])


def test_frozen_keeps_its_statistics_and_trained_does_not(file):
    path = file(network("test_resnet"))
    images = torch.rand(3, 3, 64, 96)
    for frozen in (True, False):
        model = encoder(layer=2, weights=path, frozen=frozen).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        features = model(images).features
        assert features.requires_grad != frozen
        changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
        assert bool(changed) != frozen
        if not frozen:
            features.sum().backward()
            assert all(parameter.grad is not None for parameter in model.parameters())


def test_later_layers_are_dropped():
    assert not any("layer3" in name or "fc" in name for name in encoder(layer=2).state_dict())
    names = {
        name.split(".")[2] for name in encoder(model="test_vit", layer=1).state_dict() if "blocks" in name
    }
    assert names == {"0", "1"}


def test_pool_averages_the_grid():
    model, plain = encoder(layer=2, pool=(4, 3)), encoder(layer=2)
    plain.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 64, 96)
    rows, columns = plain.grid
    grid = plain(images).features.unflatten(1, (4, rows // 4, 3, columns // 3)).mean((2, 4)).flatten(1, 2)
    torch.testing.assert_close(model(images).features, grid)


@pytest.mark.parametrize(
    ("model", "size", "grid"),
    [
        ("swin_tiny_patch4_window7_224", (224, 224), (7, 7)),
        ("convnext_tiny", (96, 128), (3, 4)),
        ("eva02_tiny_patch14_224", (56, 84), (4, 6)),
        ("vit_small_patch14_reg4_dinov2", (56, 84), (4, 6)),
        ("mobilenetv3_small_050", (96, 128), (3, 4)),
    ],
)
def test_other_networks(model, size, grid):
    with torch.device("meta"):
        other = encoder(*size, model=model, weights="nowhere/there.pth")
        cells = other(torch.empty(2, 3, *size))
    assert other.grid == grid
    assert cells.features.shape == (2, grid[0] * grid[1], other.out_channels)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"model": "test_resnett"}, ("test_resnett", "did you mean", "test_resnet", "list_models")),
        ({"model": "test_vit.of_nobody"}, ("test_vit.of_nobody", "test_vit.r160_in1k")),
        ({"layer": 5}, ("layer = 5", "test_resnet", "0 to 4")),
        ({"model": "test_vit", "height": 70}, ("70x96", "16x16", "64x96", "data.size")),
        ({"pool": (3, 4)}, ("pool = [3, 4]", "2x3", "layer -1")),
        ({"weights": "best"}, ("weights = 'best'", "'pretrained'", ".safetensors")),
    ],
)
def test_what_cannot_work_says_what_can(options, parts, names):
    with pytest.raises(ValueError, match=parts[0].partition(" ")[0]) as caught:
        encoder(**options)
    names(str(caught.value), *parts)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_network(tmp_path, names):
    path = tmp_path / "other.pth"
    content = io.BytesIO()
    torch.save(network("test_vit").state_dict(), content)
    path.write_bytes(content.getvalue())
    for model in ("test_resnet", "test_vit2"):
        with pytest.raises(DataError) as caught:
            encoder(model=model, weights=str(path))
        names(str(caught.value), str(path), "check model", model)
        assert "\n" not in str(caught.value)


def test_weights_of_timm_are_brought_to_the_size_of_the_images(monkeypatch, file):
    """As those of a file, but for where they come from."""
    whole = network("test_vit")
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda *place, **options: {**whole.state_dict()}
    )
    fetched = encoder(model="test_vit", weights="pretrained")
    read = encoder(model="test_vit", weights=file(whole))
    images = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(fetched(images).features, read(images).features)
    assert fetched.image_mean.flatten().tolist() == list(whole.pretrained_cfg["mean"])


def test_weights_that_cannot_be_fetched(monkeypatch, names):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        encoder(weights="pretrained")
    names(str(caught.value), "'pretrained'", "test_resnet", "path of the file")
    assert "\n" not in str(caught.value)


def test_images_need_three_channels():
    sizes = Sizes(image=(1, 64, 64), image_mean=(0.5,), image_std=(1.0,), words=5, answers=2)
    with pytest.raises(ValueError, match="images have 1 channels and test_resnet takes 3"):
        build(Timm, Config(model="test_resnet"), sizes)
