import dataclasses
import hashlib
import io
import subprocess
import sys

import attrs
import pytest
import torch
import torchvision
from hacore_resnet import Config
from hacore_resnet.encoder import IMAGENET_MEAN, IMAGENET_STD, ResNet
from safetensors.torch import save_file

from hacore.errors import DataError
from hacore.interfaces import Sizes, build, grid_positions
from hacore.testing import contract

TestContractTrained = contract("image_encoder", "resnet", depth=18, stage=2, frozen=False)
TestContractFrozen = contract("image_encoder", "resnet", depth=18, stage=1, frozen=True)

OF_THE_DATA = {"image_mean": (0.9, 0.8, 0.7), "image_std": (0.3, 0.2, 0.1)}


def encoder(height=40, width=50, **options):
    sizes = Sizes(image=(3, height, width), words=5, answers=2, **OF_THE_DATA)
    return build(ResNet, Config(**{"depth": 18, **options}), sizes)


@pytest.fixture(scope="module")
def whole():
    """A ResNet-18 of torchvision with statistics of its own in every batch norm."""
    torch.manual_seed(3)
    model = torchvision.models.resnet18(weights=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="module", params=[".pth", ".safetensors"])
def file(request, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / f"resnet18{request.param}"
    if request.param == ".pth":
        torch.save(whole.state_dict(), path)
    else:
        save_file(whole.state_dict(), path)
    return path


def features_of(whole, stage, images):
    """The output of stage ``stage``, caught while torchvision's own forward runs."""
    caught = []
    layer = getattr(whole, f"layer{stage}")
    handle = layer.register_forward_hook(lambda module, inputs, output: caught.append(output))
    with torch.no_grad():
        whole(images)
    handle.remove()
    return caught[0]


def test_declaring_imports_no_torch():
    code = "import sys, hacore_resnet as p; p.hacore_declare(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_every_stage_equals_torchvision(stage, file, whole):
    model = encoder(stage=stage, weights=str(file))
    pixels = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    expected = features_of(whole, stage, (pixels / 255 - mean) / std)
    cells = model(pixels)
    assert cells.grid == model.grid == tuple(expected.shape[2:])
    assert model.out_channels == expected.shape[1]
    by_cell = expected.permute(0, 2, 3, 1).reshape(2, -1, model.out_channels)
    torch.testing.assert_close(cells.features, by_cell)
    torch.testing.assert_close(cells.positions, grid_positions(model.grid))
    torch.testing.assert_close(model(pixels / 255).features, by_cell)


@pytest.mark.parametrize("size", [(1, 33), (64, 97), (224, 225)])
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_grid_for_any_image_size(size, stage):
    with torch.device("meta"):
        model = encoder(*size, stage=stage)
        assert model(torch.empty(1, 3, *size)).features.shape == (
            1,
            model.grid[0] * model.grid[1],
            model.out_channels,
        )
        trunk = model.trunk(torch.empty(1, 3, *size))
    assert model.grid == tuple(trunk.shape[2:])


@pytest.mark.parametrize(("depth", "stage"), [(34, 4), (50, 1), (50, 4), (101, 3), (152, 2)])
def test_channels_of_the_other_depths(depth, stage):
    with torch.device("meta"):
        model = encoder(depth=depth, stage=stage)
        features = model(torch.empty(1, 3, 40, 50)).features
    assert features.shape == (1, model.grid[0] * model.grid[1], model.out_channels)
    reference = getattr(torchvision.models, f"resnet{depth}")
    with torch.device("meta"):
        blocks = [len(getattr(reference(), f"layer{number}")) for number in range(1, stage + 1)]
    assert [len(getattr(model.trunk, f"layer{number}")) for number in range(1, stage + 1)] == blocks


def test_later_layers_are_dropped():
    names = {name for name, _ in encoder(stage=2, frozen=False).trunk.named_children()}
    assert names == {"conv1", "bn1", "relu", "maxpool", "layer1", "layer2"}


def test_frozen_has_no_gradient_and_keeps_its_statistics(file):
    model = encoder(stage=2, weights=str(file))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(4, 3, 40, 50)
    model.train()
    assert model.training
    trained = model(images).features
    assert not trained.requires_grad
    # Nothing of the network is kept for a backward, even if what comes before asks for one.
    assert not model(images.clone().requires_grad_()).features.requires_grad
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    torch.testing.assert_close(model.eval()(images).features, trained)


def test_not_frozen_trains(file):
    model = encoder(stage=2, weights=str(file), frozen=False).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(4, 3, 40, 50)
    model(images).features.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    statistics = [key for key in before if "running" in key]
    assert statistics
    assert not any(torch.equal(model.state_dict()[key], before[key]) for key in statistics)
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        assert not model(images).features.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_pool_averages_the_grid():
    model = encoder(64, 96, stage=2, frozen=False, pool=(4, 3)).eval()
    plain = encoder(64, 96, stage=2, frozen=False).eval()
    plain.load_state_dict(model.state_dict())
    assert (plain.grid, model.grid) == ((8, 12), (4, 3))
    images = torch.rand(2, 3, 64, 96)
    grid = plain(images).features.unflatten(1, (8, 12))
    expected = torch.stack(
        [
            grid[:, 2 * row : 2 * row + 2, 4 * column : 4 * column + 4].mean((1, 2))
            for row in range(4)
            for column in range(3)
        ],
        dim=1,
    )
    cells = model(images)
    torch.testing.assert_close(cells.features, expected)
    assert cells.grid == (4, 3)
    torch.testing.assert_close(cells.positions, grid_positions((4, 3)))


def test_image_statistics_follow_the_weights(file):
    def statistics(model):
        return tuple(x.flatten().tolist() for x in (model.image_mean, model.image_std))

    assert statistics(encoder(weights=str(file))) == tuple(
        torch.tensor(x).tolist() for x in (IMAGENET_MEAN, IMAGENET_STD)
    )
    assert statistics(encoder(frozen=False)) == tuple(torch.tensor(x).tolist() for x in OF_THE_DATA.values())


def test_frozen_random_weights_are_told_in_a_line_and_not_as_a_warning_of_pythons(file, caplog, recwarn):
    encoder(frozen=False)
    encoder(weights=str(file))
    assert caplog.messages == []
    encoder()
    (message,) = caplog.messages
    assert "frozen with random weights and will never learn" in message
    assert list(recwarn) == []


def test_unused_layers_and_batch_counts_may_be_absent(tmp_path, whole):
    state = {
        key: value
        for key, value in whole.state_dict().items()
        if not key.startswith(("layer3", "layer4", "fc")) and "num_batches_tracked" not in key
    }
    save_file(state, tmp_path / "a.safetensors")
    model = encoder(stage=2, weights=str(tmp_path / "a.safetensors"))
    for key, value in state.items():
        assert torch.equal(model.trunk.state_dict()[key], value), key


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "home" / "hub" / "checkpoints"


def serve(monkeypatch, tmp_path, content):
    """Lets torchvision's ResNet-18 weights come from a local file with the right hash in its name."""
    enum = torchvision.models.get_model_weights("resnet18")
    path = tmp_path / f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    weights = dataclasses.replace(enum["IMAGENET1K_V1"].value, url=path.as_uri())
    monkeypatch.setattr(enum["IMAGENET1K_V1"], "_value_", weights)
    return path


def test_weights_by_name_are_downloaded_once(monkeypatch, tmp_path, cache, whole):
    content = io.BytesIO()
    torch.save(whole.state_dict(), content)
    source = serve(monkeypatch, tmp_path, content.getvalue())
    model = encoder(weights="IMAGENET1K_V1")
    assert [path.name for path in cache.iterdir()] == [source.name]
    assert torch.equal(model.trunk.conv1.weight, whole.conv1.weight)
    assert torch.equal(model.trunk.layer4[1].bn2.running_var, whole.layer4[1].bn2.running_var)
    torch.testing.assert_close(model.image_mean.flatten(), torch.tensor(IMAGENET_MEAN))
    source.unlink()
    again = encoder(weights="IMAGENET1K_V1")
    assert torch.equal(again.trunk.conv1.weight, whole.conv1.weight)


def test_failed_download(monkeypatch, tmp_path, cache):
    serve(monkeypatch, tmp_path, b"").unlink()
    with pytest.raises(DataError, match=r"'IMAGENET1K_V1'.*cannot be used.*give the path") as caught:
        encoder(weights="IMAGENET1K_V1")
    assert "\n" not in str(caught.value)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"'IMAGENET1K_V2' are not known for ResNet-18.*'IMAGENET1K_V1'"):
        encoder(weights="IMAGENET1K_V2")


def test_meta_device_looks_for_no_weights():
    with torch.device("meta"):
        assert encoder(weights="nowhere/there.pth").grid == (2, 2)


class Unsafe:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_do_not_fit(suffix, tmp_path, whole, capsys, names):
    path = tmp_path / f"broken{suffix}"

    def message():
        with pytest.raises(DataError) as caught:
            encoder(weights=str(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in message()
    save = torch.save if suffix == ".pth" else save_file
    state = whole.state_dict()

    short = {key: value for key, value in state.items() if not key.startswith("layer1.0.conv1")}
    save(short, path)
    assert "1 missing: layer1.0.conv1.weight" in message()
    save({**state, "layer1.7.conv1.weight": torch.ones(2)}, path)
    assert "1 unexpected: layer1.7.conv1.weight" in message()
    save({**state, "conv1.weight": torch.ones(2, 3)}, path)
    assert "1 of another shape: conv1.weight (2, 3) instead of (64, 3, 7, 7)" in message()
    if suffix == ".pth":
        save({"state_dict": state}, path)
        assert "must hold a state dict" in message()
        save(Unsafe(), path)
        names(message(), "other Python objects", "print", "state_dict()")
        assert "unpickled" not in capsys.readouterr().out


def test_a_file_of_another_depth(tmp_path):
    path = tmp_path / "resnet34.safetensors"
    save_file(torchvision.models.resnet34(weights=None).state_dict(), path)
    # All names of ResNet-18 are in it.
    with pytest.raises(DataError, match=r"unexpected: .*; check depth"):
        encoder(weights=str(path))


def test_a_path_without_a_known_ending(tmp_path):
    with pytest.raises(DataError, match=r"must end in \.pth or \.safetensors"):
        encoder(weights=str(tmp_path / "weights.bin"))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"pool": (2, 3)}, "is more than the 2x2 grid of stage 4"), ({"pool": (3, 1)}, "use a smaller pool")],
)
def test_pool_larger_than_the_grid(options, words):
    with pytest.raises(ValueError, match=words):
        encoder(**options)


def test_images_need_three_channels():
    with pytest.raises(ValueError, match="images have 1 channels"):
        build(
            ResNet,
            Config(depth=18),
            Sizes(image=(1, 40, 40), image_mean=(0.5,), image_std=(1.0,), words=5, answers=2),
        )


@pytest.mark.parametrize("pool", [(), (3,), (1, 2, 3), (0, 1)])
def test_pool_must_be_two_numbers(pool):
    with pytest.raises(ValueError, match=r"two numbers|at least 1"):
        Config(pool=pool)


def test_every_option_has_help():
    assert all(field.metadata["help"] for field in attrs.fields(Config))
