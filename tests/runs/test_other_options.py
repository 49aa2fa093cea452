"""A trained model asked with other options of its selector, while it stays as it was trained."""

import attrs
import numpy as np
import pytest
import torch

import hacore
from hacore.errors import ComposeError, RunError, SpecError
from hacore.model.compose import compose
from hacore.spec import load_spec

pytest.importorskip("PIL.Image")

QUESTIONS = ["is the red object on the left?", "what is the shape of the gray object?", "how many?"]
SELECTORS = {
    "han": ['selector={use="l2-topk", k=7}'],
    "fraction": ['selector={use="l2-topk", fraction=0.5}'],
    "adahan": ['selector={use="adahan"}'],
    "san": ['selector={use="soft-attention", width=8}', 'aggregator={use="sum-pool"}'],
}


@pytest.fixture(scope="module")
def spec_of(request):
    """spec_of("han", "selector.k=4"): the spec of a small model with a kind of selector."""
    small = ["data.images=40", "data.held_out=5", "data.validation=5", "image_encoder.channels=[4, 8]"]
    small += ["image_encoder.strides=[4]", "train.steps=2", "train.batch_images=4", "train.threads=1"]
    small += ["train.warmup_steps=0", "eval.baseline_steps=0"]
    path = request.config.rootpath / "experiments" / "han_rn.toml"
    return lambda kind, *overrides: load_spec(path, [*small, *SELECTORS[kind], *overrides])


@pytest.fixture(scope="module")
def trained_as(spec_of, tmp_path_factory):
    """trained_as("han"): a run of a second, once for each kind."""
    runs = {}

    def run(kind):
        if kind not in runs:
            folder, _ = hacore.run(
                spec_of(kind), runs=tmp_path_factory.mktemp(kind), device="cpu", report=False
            )
            runs[kind] = hacore.load(folder, device="cpu")
        return runs[kind]

    return run


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "options", "overrides"),
    [
        ("han", {"k": 1}, ["selector.k=1"]),
        ("han", {"k": 25}, ["selector.k=25"]),
        ("han", {"k": None, "fraction": 0.2}, ["selector.k=none", "selector.fraction=0.2"]),
        ("fraction", {"fraction": None, "k": 3}, ["selector.fraction=none", "selector.k=3"]),
        ("adahan", {"threshold": 0.4}, ["selector.threshold=0.4"]),
        (
            "adahan",
            {"threshold": 1.05, "max_cells": 3},
            ["selector.threshold=1.05", "selector.max_cells=3"],
        ),
    ],
)
def test_answers_are_those_of_a_model_composed_with_the_options(
    trained_as, spec_of, image, kind, options, overrides
):
    trained = trained_as(kind)
    composed = compose(spec_of(kind, *overrides), trained.summary.sizes()).eval()
    composed.load_state_dict(trained.model.state_dict())
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    usual = [reply.as_dict() for reply in trained.ask(image, QUESTIONS)]

    replies = trained.ask(image, QUESTIONS, selector=options)
    expected = attrs.evolve(trained, model=composed).ask(image, QUESTIONS)
    assert [reply.as_dict() for reply in replies] == [reply.as_dict() for reply in expected]
    assert [reply.as_dict() for reply in replies] != usual

    assert [reply.as_dict() for reply in trained.ask(image, QUESTIONS)] == usual
    assert trained.model.selector.config == trained.spec.selector.options
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_selector_with_weights_shares_those_of_the_model(trained_as):
    trained = trained_as("san")
    other = trained.with_selector().model.selector
    assert other is not trained.model.selector
    assert not other.training
    own = dict(trained.model.selector.named_parameters())
    assert own
    for name, parameter in other.named_parameters():
        assert parameter.data_ptr() == own[name].data_ptr()


def test_making_another_selector_draws_no_random_numbers(trained_as):
    trained = trained_as("san")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    trained.with_selector()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("kind", "options", "error", "parts"),
    [
        ("han", {"k": 0}, SpecError, ["selector.k:", "0", "at least 1"]),
        ("han", {"k": 2.5}, SpecError, ["selector.k:", "2.5", "integer"]),
        ("han", {"kk": 4}, SpecError, ["selector.kk:", "unknown", "'k'", "k, fraction"]),
        ("han", {"k": (4,)}, SpecError, ["selector.k:", "[4]", "integer"]),
        ("han", {"self": 4}, SpecError, ["selector.self:", "unknown", "k, fraction"]),
        ("han", {"fraction": 0.5}, SpecError, ["selector:", "k = 7", "fraction = 0.5", "not both"]),
        (
            "han",
            {"k": 26},
            ComposeError,
            ["selector 'l2-topk'", "5x5 cells", "k = 26", "25 cells", "lower k or use fraction"],
        ),
        ("adahan", {"threshold": -1.0}, SpecError, ["selector.threshold:", "-1.0"]),
        ("san", {"width": 9}, RunError, ["selector 'soft-attention':", "width", "without training", "none"]),
        (
            "adahan",
            {"presence": "square"},
            RunError,
            ["selector 'adahan':", "presence", "without training", "threshold, comparison, max_cells"],
        ),
    ],
)
def test_options_that_cannot_be(trained_as, image, names, kind, options, error, parts):
    with pytest.raises(error) as caught:
        trained_as(kind).ask(image, QUESTIONS[0], selector=options)
    names(str(caught.value), *parts)


def test_the_command_line_asks_with_other_options(cli, names, trained_as, image, tmp_path):
    from PIL import Image

    run = trained_as("han").folder.path
    Image.fromarray(image).save(tmp_path / "scene.png")
    arguments = ("ask", run, tmp_path / "scene.png", QUESTIONS[0], "--no-picture", "--set")
    assert "3 of 25 cells kept" in cli(*arguments, "selector.k=3").out
    half = cli(*arguments, "selector.k=none", "--set", "selector.fraction=0.5")
    assert "13 of 25 cells kept" in half.out
    names(cli(*arguments, "selector.k=26").error, "selector 'l2-topk'", "k = 26", "25 cells")
    assert "25 of 25 cells kept" in cli(*arguments, "selector.use=all-cells").out
    for words in ("train.lr=1", "selector=3", "name=x"):
        names(cli(*arguments, words).error, f"--set {words}:", "selector.use", "data.KEY", "selector.k=4")
    names(cli(*arguments, "selector.k.b=3").error, "selector.k.b=3", "a value", "a table")
