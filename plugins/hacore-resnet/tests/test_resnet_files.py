"""Files that are given as weights and are something else: each is told what it is and what to do."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from hacore_resnet import Config
from hacore_resnet.encoder import ResNet
from safetensors.torch import save, save_file

import hacore
from hacore.errors import ComposeError, DataError
from hacore.interfaces import Sizes, build

SIZES = Sizes(image=(3, 33, 47), words=5, answers=2)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture
def refusal(tmp_path):
    """refusal(content, suffix): what is said of a file, one line without torch's advice to unpickle it."""

    def run(content, suffix=".pth"):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            build(ResNet, Config(depth=18, stage=1, weights=str(path)), SIZES)
        message = str(caught.value)
        assert message.startswith(f"weights {path}")
        assert "\n" not in message
        assert "weights_only" not in message
        assert "safe_globals" not in message
        return message.removeprefix(f"weights {path}")

    return run


def torch_bytes(value, zipped=True):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def zip_of(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


class Other:
    pass


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ("is empty", "again")),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", ("is a web page", "download failed", "again")),
        (b"\xef\xbb\xbf\r\n <HTML><head>Sign in</head>", ("is a web page", "log in")),
        (b'{"error": "rate limit"}', ("is JSON", "download failed")),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46830571\n",
            ("pointer of Git LFS", "git lfs pull"),
        ),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3 more", ("gzip", "unpack")),
        (zip_of("notes.txt", "resnet18.pth"), ("zip archive", "unpack", "resnet18.pth")),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), ("HDF5",)),
        (b"these are notes, and no weights", ("no file of weights", "again")),
    ],
)
def test_it_is_said_what_a_file_is(refusal, names, content, parts, suffix):
    names(refusal(content, suffix), *parts)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_file_that_is_cut_off(refusal, names, state, share):
    for content in (torch_bytes(state), torch_bytes(state, zipped=False), save(state)):
        names(refusal(content[: int(share * len(content))]), "cut off", "again")
    names(refusal(save(state)[:500]), "cut off", "again")


def test_pickles_of_other_objects_are_named_and_never_run(refusal, names):
    names(refusal(torch_bytes(torch.nn.Linear(2, 2))), "Python objects", "torch.nn.modules.linear.Linear")
    names(refusal(torch_bytes(torch.nn.Linear(2, 2), zipped=False)), "Python objects", "state_dict()")
    for protocol in (2, 4):
        pickled = pickle.dumps({"a": Other(), "b": np.ones(3)}, protocol)
        names(refusal(pickled), "Python objects", "state_dict()")


def test_a_program_of_torchscript(refusal, names):
    names(
        refusal(zip_of("net/data.pkl", "net/code/__torch__.py", "net/constants.pkl")),
        "TorchScript",
        "state_dict()",
    )


def test_a_training_checkpoint(refusal, names, state):
    names(refusal(torch_bytes({"epoch": 3, "state_dict": state})), "epoch, state_dict", "'state_dict' alone")
    names(refusal(torch_bytes([torch.ones(2)])), "state dict", "list")


def test_the_content_counts_not_the_name(tmp_path, state):
    (tmp_path / "a.pth").write_bytes(save(state))
    (tmp_path / "b.safetensors").write_bytes(torch_bytes(state))
    for name in ("a.pth", "b.safetensors"):
        model = build(ResNet, Config(depth=18, stage=1, weights=str(tmp_path / name)), SIZES)
        assert torch.equal(model.trunk.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(refusal, names, state, value):
    spoiled = {name: tensor.clone() for name, tensor in state.items()}
    spoiled["layer1.0.conv2.weight"].view(-1)[:7] = value
    for content in (save(spoiled), torch_bytes(spoiled)):
        names(refusal(content), "layer1.0.conv2.weight", "7 of its 36,864", "get the file again")


def test_weights_of_another_network_are_no_matter_of_images(tmp_path, small_table, names):
    """In a spec: the weights do not fit the encoder; the images have nothing to do with it."""
    path = tmp_path / "squeezenet.safetensors"
    save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    encoder = {"use": "resnet", "depth": 18, "stage": 1, "weights": str(path)}
    spec = hacore.resolve(small_table("other", image_encoder=encoder))
    with pytest.raises(ComposeError) as caught:
        hacore.compose(spec, SIZES)
    message = str(caught.value)
    names(message, "image encoder 'resnet'", str(path), "do not fit the encoder", "depth")
    names(
        message,
        "missing: conv1.weight (64, 3, 7, 7)",
        "unexpected: ",
        "classifier.1.weight (1000, 512, 1, 1)",
    )
    assert "images" not in message


def test_a_damaged_download_in_the_cache_is_named(tmp_path, monkeypatch, names):
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.get_model_weights("resnet18")["IMAGENET1K_V1"].url
    cached = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.write_text(json.dumps({"error": "no access"}))
    with pytest.raises(DataError) as caught:
        build(ResNet, Config(depth=18, weights="IMAGENET1K_V1"), SIZES)
    names(str(caught.value), str(cached), "is JSON", "delete it")
