"""What is said of components that do not fit, or do not keep their promises."""

import attrs
import pytest
import torch

from hacore.errors import ComposeError, PluginError
from hacore.interfaces import Sizes
from hacore.measure.predict import predict
from hacore.model.compose import compose, compose_question_only, example_batch
from hacore.model.network import Head
from hacore.spec import HeadConfig, resolve

SIZES = Sizes(image=(3, 16, 16), words=12, answers=5)

BASE = {
    "name": "x",
    "data": {"use": "sort-of-clevr"},
    "image_encoder": {"use": "small-cnn", "channels": [6], "strides": [4]},
    "question_encoder": {"use": "lstm", "embedding": 3, "hidden": 7},
    "fuser": {"use": "add", "width": 9},
    "selector": {"use": "l2-topk", "k": 5},
    "aggregator": {"use": "sum-pool"},
}

PLUGIN = """
import attrs
from hacore.plugin import Component, hookimpl

@attrs.frozen(kw_only=True)
class Config:
    "No options."

@hookimpl
def hacore_declare():
    return [
        Component(kind=kind, name=name, target=f"fake_mine_parts:{cls}", config=Config, summary="for a test")
        for kind, name, cls in [
            ("selector", "liar", "Liar"), ("selector", "no-class", "NoClass"),
            ("selector", "no-selection", "NoSelection"), ("aggregator", "sloppy", "Sloppy"),
            ("aggregator", "silent", "Silent"), ("aggregator", "crash", "Crash"),
            ("aggregator", "greedy", "Greedy"), ("fuser", "flat", "Flat"),
            ("image_encoder", "shapeless", "Shapeless"),
        ]
    ]
"""

PARTS = """
import torch
from hacore.interfaces import Aggregator, Fuser, ImageEncoder, Selection, Selector

class Liar(Selector):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = 100
    def forward(self, cells, question):
        questions, count, _ = cells.features.shape
        return Selection(features_QKC=cells.features, index_QK=torch.arange(count).expand(questions, -1),
                         presence_QN=cells.features.norm(dim=2), positions_N2=cells.positions,
                         grid=cells.grid)

class NoClass:
    def __init__(self, config, sizes): pass

class NoSelection(Selector):
    def forward(self, cells, question): return None

class Sloppy(Aggregator):
    def forward(self, selection, question): return question.vector_QC

class Silent(Aggregator):
    out_channels = 9
    def forward(self, selection, question): return selection.features_QKC

class Crash(Aggregator):
    out_channels = 9
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.linear = torch.nn.Linear(3, 4)
    def forward(self, selection, question): return self.linear(selection.features_QKC.sum(1))

class Greedy(Aggregator):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        raise KeyError("nothing")
    def forward(self, selection, question): return None

class Flat(Fuser):
    out_channels = 9
    def forward(self, cells, question, image_index_Q): return cells.features.flatten(1)

class Shapeless(ImageEncoder):
    out_channels = 9
    def forward(self, images): return None
"""


def spec_with(**sections):
    return resolve({**BASE, **sections})


def error_of(**sections):
    with pytest.raises((ComposeError, PluginError)) as error:
        compose(spec_with(**sections), SIZES)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_answers_every_question():
    model = compose(spec_with(), SIZES)
    batch = example_batch(SIZES, images=2, questions=6, words=4)
    output = predict(model, batch)
    assert output.logits_QA.shape == (6, 5)
    assert output.selection.index_QK.shape == (6, 5)
    output.logits_QA.sum().backward()
    assert model.training


def test_composing_draws_only_for_the_weights_and_is_repeatable():
    torch.manual_seed(3)
    first = compose(spec_with(), SIZES).state_dict()
    torch.rand(7)
    torch.manual_seed(3)
    again = compose(spec_with(), SIZES).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_more_cells_than_there_are():
    assert error_of(selector={"use": "l2-topk", "k": 17}) == (
        "selector 'l2-topk' cannot take the 4x4 cells of 9 channels of fuser 'add': "
        "k = 17 is more than the 16 cells of a 4x4 grid; lower k or use fraction"
    )


def test_images_that_are_too_small_for_the_encoder():
    message = error_of(image_encoder={"use": "small-cnn", "channels": [4] * 6, "strides": [4]})
    assert message.startswith(
        "image encoder 'small-cnn' cannot take the 3x16x16 images of dataset 'sort-of-clevr': "
        "images of 16x16 are too small: layer 3 of 6 would move by 4 over a 1x1 grid; "
    )


def test_a_width_beyond_all_memory_is_told_in_one_line():
    message = error_of(fuser={"use": "add", "width": 10**14})
    assert message.startswith(
        "fuser 'add' cannot take the 4x4 cells of 6 channels of image encoder 'small-cnn' "
        "and the 7 channels of question encoder 'lstm': RuntimeError: "
    )


@pytest.mark.parametrize(
    ("section", "name", "message"),
    [
        (
            "selector",
            "liar",
            "selector 'liar': gave (3, 16, 9) where its out_channels and its input promise (3, K, 100); "
            "change fake_mine_parts.Liar",
        ),
        (
            "selector",
            "no-class",
            "selector 'no-class': <class 'fake_mine_parts.NoClass'> is not a subclass of "
            "hacore.interfaces.Selector",
        ),
        (
            "selector",
            "no-selection",
            "selector 'no-selection': gave NoneType where its out_channels and its input promise (3, K, 9); "
            "change fake_mine_parts.NoSelection",
        ),
        (
            "aggregator",
            "sloppy",
            "aggregator 'sloppy' cannot take the 4x4 cells of 9 channels of selector 'l2-topk': "
            "Sloppy.__init__ must set out_channels to an int",
        ),
        (
            "aggregator",
            "silent",
            "aggregator 'silent': gave (3, 5, 9) where its out_channels and its input promise (3, 9); "
            "change fake_mine_parts.Silent",
        ),
        (
            "aggregator",
            "crash",
            "aggregator 'crash' fails after selector 'l2-topk' gave (3, 5, 9): "
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x9 and 3x4)",
        ),
        (
            "aggregator",
            "greedy",
            "aggregator 'greedy' cannot take the 4x4 cells of 9 channels of selector 'l2-topk': "
            "KeyError: 'nothing'",
        ),
        (
            "fuser",
            "flat",
            "fuser 'flat': gave (2, 96) where its out_channels and its input promise (3, 16, 9); "
            "change fake_mine_parts.Flat",
        ),
        (
            "image_encoder",
            "shapeless",
            "image encoder 'shapeless' cannot take the 3x16x16 images of dataset 'sort-of-clevr': "
            "Shapeless.__init__ must set grid to (rows, columns)",
        ),
    ],
)
def test_a_component_that_breaks_its_contract_is_named(install, section, name, message):
    install("fake_mine", PLUGIN, fake_mine_parts=PARTS)
    # Torch's own words differ from version to version.
    assert error_of(**{section: {"use": name}}).replace("addmm: ", "") == message


def test_a_plugin_needs_no_way_around_the_registry(install):
    install("fake_mine", PLUGIN, fake_mine_parts=PARTS.replace("self.out_channels = 100", ""))
    model = compose(spec_with(selector={"use": "liar"}), SIZES)
    assert type(model.selector).__name__ == "Liar"


def test_the_head_is_an_mlp():
    torch.manual_seed(0)
    head = Head(HeadConfig(hidden=(6, 7), dropout=0.5), 4, 3).eval()
    x_QC = torch.randn(5, 4)
    first, second, last = (layer for layer in head if isinstance(layer, torch.nn.Linear))
    expected = last(second(first(x_QC).relu()).relu())
    torch.testing.assert_close(head(x_QC), expected)
    assert len(list(Head(HeadConfig(hidden=()), 4, 3).parameters())) == 2


def test_the_question_only_baseline_has_the_encoder_and_the_head_alone():
    spec = spec_with()
    model = compose_question_only(spec, SIZES)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"question_encoder", "head"}
    batch = example_batch(SIZES)
    assert model(batch.words_QT, batch.lengths_Q).shape == (3, SIZES.answers)


def test_the_reported_sizes_are_those_of_the_data():
    sizes = attrs.evolve(SIZES, answers=3)
    model = compose(spec_with(), sizes)
    assert predict(model, example_batch(sizes)).logits_QA.shape[1] == 3
