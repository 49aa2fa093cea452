"""A small CNN that starts from the image encoder of a run."""

import pytest
import torch
from hacore_small_cnn import Config
from hacore_small_cnn.encoder import SmallCNN

from hacore.errors import RunError
from hacore.interfaces import Sizes, build
from hacore.machine.files import save_tensors

CHANNELS = (4, 6)


def encoder(mean=0.5, **options):
    sizes = Sizes(image=(3, 13, 9), image_mean=(mean,) * 3, image_std=(0.2,) * 3, words=5, answers=2)
    return build(SmallCNN, Config(**{"channels": CHANNELS, **options}), sizes)


def make_run(folder, model, part="image_encoder"):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "spec.toml").write_text("")
    tensors = {f"model.{part}.{name}": tensor for name, tensor in model.state_dict().items()}
    save_tensors(folder / "checkpoints" / "best.safetensors", tensors, {})
    return str(folder)


@pytest.fixture
def trained():
    """An encoder that differs from a fresh one in every tensor."""
    torch.manual_seed(1)
    model = encoder(mean=0.1)
    for _ in range(3):
        model(torch.rand(4, 3, 13, 9)).features.square().mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad + 0.01
    return model


@pytest.fixture
def run(tmp_path, trained):
    return make_run(tmp_path / "runs" / "20260101-120000-aaaaaa", trained)


IMAGES = torch.rand(2, 3, 13, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("frozen", [False, True])
def test_it_gives_what_the_run_s_encoder_gives(run, trained, frozen):
    model = encoder(weights=run, frozen=frozen).eval()
    torch.testing.assert_close(model(IMAGES).features, trained.eval()(IMAGES).features, rtol=0, atol=0)
    assert not torch.allclose(model(IMAGES).features, encoder().eval()(IMAGES).features)


def test_frozen_nothing_of_it_changes_in_training(run):
    model = encoder(weights=run, frozen=True).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = model(IMAGES).features
    assert not features.requires_grad
    assert not model.trains
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_otherwise_it_is_trained_further(run):
    model = encoder(weights=run).train()
    model(IMAGES).features.square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert model.layers[1].num_batches_tracked == 4


@pytest.mark.parametrize("options", [{"channels": (4, 8)}, {"channels": (4,)}, {"norm": "off"}])
def test_other_tensors_are_told(run, options):
    with pytest.raises(RunError, match=r"weights = .*20260101.*layers\.\d.* differ"):
        encoder(weights=run, **options)


def test_a_run_without_an_image_encoder_is_told(tmp_path, trained):
    with pytest.raises(RunError, match="does not fit"):
        encoder(weights=make_run(tmp_path / "other", trained, part="fuser"))


def test_weights_that_are_not_finite_are_told(tmp_path, trained):
    with torch.no_grad():
        trained.layers[0].weight[0] = torch.nan
    with pytest.raises(RunError, match=r"layers\.0\.weight"):
        encoder(weights=make_run(tmp_path / "broken", trained))


def test_random_weights_cannot_be_frozen():
    with pytest.raises(ValueError, match=r"frozen = true.*weights"):
        Config(frozen=True)
