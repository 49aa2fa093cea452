"""A trained model measured with another selector, or other options of its own, chosen after the training."""

import json

import pytest
import torch

import hacore
from hacore.errors import ComposeError, HacoreError, PluginError, SpecError
from hacore.measure.cost import mean_multiply_adds

pytest.importorskip("hacore_all_cells")

SELECTORS = {
    "all": {"selector": {"use": "all-cells"}},
    "han": {"selector": {"use": "l2-topk", "k": 7}},
    "san": {"selector": {"use": "soft-attention", "width": 8}, "aggregator": {"use": "sum-pool"}},
}
TRAIN = {"steps": 2, "batch_images": 4, "threads": 1, "warmup_steps": 0}
DECLARED = """
import attrs
from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    k: int = option(4, "cells to keep", min=1, live=True)
    manner: str = option("plain", "how")


@hookimpl
def hacore_declare():
    return [Component(kind="selector", name=name, target=f"chosen_after:{name.title()}", config=Config,
                      summary="of a test") for name in ("told", "learned", "counting", "wide", "broken")]
"""
CLASSES = """
import torch
from torch import nn
from hacore.interfaces import Selection, Selector
from hacore.selection import gather_cells, l2_presence, strongest_first


class Plain(Selector):
    def presence(self, cells, question):
        return l2_presence(cells.features)

    def forward(self, cells, question):
        presence_QN = self.presence(cells, question)
        index_QK = strongest_first(presence_QN.detach())[:, : self.config.k]
        features_QKC = gather_cells(cells.features, index_QK) * presence_QN.gather(1, index_QK)[..., None]
        return Selection(features_QKC=features_QKC, index_QK=index_QK, presence_QN=presence_QN.detach(),
                         positions_N2=cells.positions, grid=cells.grid)


class Told(Plain):
    oracle = True

    def presence(self, cells, question):
        return 1 + question.relevant_QN.float()


class Learned(Plain):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.score = nn.Linear(sizes.cell_channels, 1)

    def presence(self, cells, question):
        return self.score(cells.features)[..., 0]


class Counting(Plain):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.register_buffer("seen", torch.zeros(()))


class Wide(Plain):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = 2 * sizes.cell_channels


class Broken(Plain):
    def presence(self, cells, question):
        return l2_presence(cells.features)[:, :2, None]
"""


@pytest.fixture
def plugins(install):
    """Selectors of a plugin: told is an oracle, learned has weights, counting a buffer."""
    install("chosen_plugin", DECLARED, chosen_after=CLASSES)


@pytest.fixture(scope="module")
def spec_of(small_table):
    """spec_of("all", selector={...}): a spec of a small model with 25 cells, with these sections replaced."""

    def spec(kind, **sections):
        evaluation = {"baseline_steps": 0, "batch_images": 3}
        table = small_table(kind, train=TRAIN, eval=evaluation, **{**SELECTORS.get(kind, {}), **sections})
        return hacore.resolve(table)

    return spec


@pytest.fixture(scope="module")
def trained_as(spec_of, tmp_path_factory):
    """trained_as("all"): a run of a second, once for each kind."""
    runs = {}

    def run(kind):
        if kind not in runs:
            folder, _ = hacore.run(
                spec_of(kind), runs=tmp_path_factory.mktemp(kind), device="cpu", report=False
            )
            runs[kind] = hacore.load(folder, device="cpu")
        return runs[kind]

    return run


def composed(trained, spec):
    """A model that was composed with the selector of the spec, with the weights of the trained one."""
    model = hacore.compose(spec, trained.summary.sizes()).eval()
    model.load_state_dict(trained.model.state_dict())
    return model


def lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


@pytest.mark.parametrize(
    ("kind", "words", "selector"),
    [
        ("all", ["selector.use=l2-topk", "selector.k=3"], {"use": "l2-topk", "k": 3}),
        ("all", ["selector.use=l2-topk", "selector.fraction=0.5"], {"use": "l2-topk", "fraction": 0.5}),
        ("all", ["selector.use=adahan", "selector.presence=square"], {"use": "adahan", "presence": "square"}),
        ("han", ["selector.use=all-cells"], {"use": "all-cells"}),
        ("han", ["selector.k=2"], {"use": "l2-topk", "k": 2}),
        ("han", ["selector.use=l2-topk", "selector.k=2"], {"use": "l2-topk", "k": 2}),
        ("han", ["selector.k=none", "selector.fraction=0.2"], {"use": "l2-topk", "fraction": 0.2}),
        ("san", ["selector.use=l2-topk", "selector.k=2"], None),
    ],
)
def test_predictions_are_those_of_a_model_composed_with_the_selector(
    cli, spec_of, trained_as, tmp_path, kind, words, selector
):
    trained = trained_as(kind)
    ran = json.loads(cli("eval", trained.folder.path, *words, "--split", "val", "--json").out)
    if selector is None:  # the weights of the run's own selector are left out
        selector = {"use": "l2-topk", "k": 2}
        model = hacore.compose(spec_of(kind, selector=selector), trained.summary.sizes()).eval()
        state = trained.model.state_dict()
        model.load_state_dict({name: state[name] for name in model.state_dict()})
    else:
        model = composed(trained, spec_of(kind, selector=selector))
    expected = hacore.evaluate(
        *(model, trained.dataset, "val"),
        device=trained.device,
        batch_images=3,
        precision=trained.precision,
        predictions=tmp_path / "expected.jsonl",
    )
    assert lines(ran["predictions"]) == lines(tmp_path / "expected.jsonl")
    assert lines(ran["predictions"]) != lines(hacore.evaluate_run(trained, split="val").predictions)
    assert (ran["accuracy"], ran["loss"], ran["kept"]) == (expected.accuracy, expected.loss, expected.kept)
    costs = mean_multiply_adds(model, trained.dataset, "val", precision=trained.precision)
    assert (ran["multiply_adds_by_stage"], ran["multiply_adds"]) == (costs, sum(costs.values()))
    assert {key: ran["selector"].get(key) for key in selector} == selector
    assert ran["oracle"] is False


def test_the_run_itself_stays_as_it_is(cli, trained_as):
    folder = trained_as("han").folder
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    ran = json.loads(cli("eval", folder.path, "selector.k=3", "--json").out)
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    written = sorted(str(path) for path in after.keys() - before.keys())
    assert written == sorted([ran["predictions"], ran["predictions"].replace(".jsonl", ".json")])
    assert json.loads(after[folder.path / "predictions" / written[0].rpartition("/")[2]]) == ran


def test_a_selector_has_a_file_of_its_own(trained_as):
    trained = trained_as("all")

    def file(**options):
        return trained.folder.predictions_file("test", trained.with_selector(**options).spec).name

    own = file()
    assert own == file(use="all-cells") == "test.jsonl"
    three, defaults = file(use="l2-topk", k=3), file(use="adahan")
    assert three.startswith("test--")
    assert file(use="l2-topk", k=3, fraction=None) == three
    assert file(use="adahan", threshold=1.0, presence="norm") == defaults
    others = [file(use="l2-topk", k=4), file(use="l2-topk", fraction=0.12), file(use="adahan", threshold=1.5)]
    assert len({own, three, defaults, *others}) == 6


def test_options_of_the_selector_before_do_not_carry_over(trained_as):
    trained = trained_as("han").with_selector(use="l2-topk", k=3)
    assert (trained.spec.selector.options.k, trained.model.selector.k) == (3, 3)
    assert trained.with_selector(k=None).model.selector.k == 16
    there_and_back = trained.with_selector(use="all-cells").with_selector(use="l2-topk")
    assert there_and_back.spec.selector.options.k is None


def test_the_table_of_what_each_choice_loses_at_what_cost(trained_as, spec_of):
    trained = trained_as("all")
    results = [
        hacore.evaluate_run(trained.with_selector(use="l2-topk", k=k), split="val") for k in (25, 10, 5, 1)
    ]
    assert [result.kept for result in results] == pytest.approx([1, 0.4, 0.2, 0.04])
    costs = [result.multiply_adds for result in results]
    assert costs == sorted(set(costs), reverse=True)
    # The Relation Network's cost grows with the pairs; what comes before the selector costs the same.
    pairs = [result.multiply_adds_by_stage["aggregator"] for result in results]
    assert pairs[0] > 5 * pairs[1] > 15 * pairs[2]
    assert len({result.multiply_adds_by_stage["image_encoder"] for result in results}) == 1
    everything = hacore.evaluate_run(trained, split="val")
    assert (everything.accuracy, everything.loss) == pytest.approx((results[0].accuracy, results[0].loss))
    assert everything.predictions.endswith("val.jsonl")


def test_it_shares_all_weights_and_leaves_the_model_alone(trained_as):
    trained = trained_as("all")
    trained.dataset  # noqa: B018 (opens it)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    other = trained.with_selector(use="l2-topk", k=3)
    assert torch.equal(torch.rand(3), expected)
    own = dict(trained.model.named_parameters())
    for name, parameter in other.model.named_parameters():
        assert parameter.data_ptr() == own[name].data_ptr()
    assert not other.model.training
    assert other.dataset is trained.dataset
    assert trained.spec.selector.use == "all-cells"
    assert type(trained.model.selector) is not type(other.model.selector)


@pytest.mark.parametrize(
    ("kind", "options", "error", "parts"),
    [
        (
            "all",
            {"use": "soft-attention"},
            ComposeError,
            ["selector 'soft-attention':", "weights", "weight", "without training", "train a spec"],
        ),
        ("all", {"use": "learned"}, ComposeError, ["selector 'learned':", "score.weight, score.bias"]),
        ("all", {"use": "counting"}, ComposeError, ["selector 'counting':", "weights", "seen"]),
        ("all", {"use": "wide"}, ComposeError, ["selector 'wide':", "none", "gives 16", "give 8"]),
        ("all", {"use": "broken"}, ComposeError, ["selector 'broken'", "fails"]),
        ("all", {"use": "l2-topk", "k": 26}, ComposeError, ["selector 'l2-topk'", "5x5 cells", "k = 26"]),
        ("all", {"use": "l2-topk", "kk": 2}, SpecError, ["selector.kk:", "'k'", "k, fraction"]),
        ("all", {"use": "l2-topk", "k": 0}, SpecError, ["selector.k:", "0", "at least 1"]),
        ("all", {"k": 3}, SpecError, ["selector.k:", "unknown", "none"]),
        ("all", {"use": 3}, SpecError, ["selector.use:", "3", "string"]),
        ("all", {"use": "l2-topkk"}, HacoreError, ["selector.use:", "'l2-topkk'", "'l2-topk'"]),
    ],
)
def test_choices_that_cannot_be(plugins, trained_as, names, kind, options, error, parts):
    with pytest.raises(error) as caught:
        trained_as(kind).with_selector(**options)
    names(str(caught.value), *parts)


@pytest.mark.parametrize("words", ["train.lr=1", "selector=all-cells", "k=3", "features.pool=3"])
def test_other_keys_are_refused_before_anything_is_loaded(cli, names, trained_as, words):
    folder = trained_as("all").folder
    before = sorted(folder.path.rglob("*"))
    names(cli("eval", folder.path, words).error, f"{words}:", "selector.use", "options", "selector.k=4")
    names(cli("eval", folder.path, "selector.k").error, "selector.k:", "key=value", "selector.k=")
    assert sorted(folder.path.rglob("*")) == before


def test_the_runs_own_weights_stay_with_its_live_options(plugins, spec_of, tmp_path, names):
    spec = spec_of("learned", selector={"use": "learned", "k": 6})
    folder, _ = hacore.run(spec, runs=tmp_path, device="cpu", report=False)
    trained = hacore.load(folder, device="cpu")
    for other in (trained.with_selector(k=2), trained.with_selector(use="learned", k=2)):
        weight, own = other.model.selector.score.weight, trained.model.selector.score.weight
        assert weight.data_ptr() == own.data_ptr()
    result = hacore.evaluate_run(other)
    model = composed(trained, spec_of("learned", selector={"use": "learned", "k": 2}))
    expected = hacore.evaluate(
        model, trained.dataset, "test", device=trained.device, precision=trained.precision
    )
    assert (result.accuracy, result.loss) == pytest.approx((expected.accuracy, expected.loss))
    for options in ({"manner": "other"}, {"use": "learned", "manner": "other"}):
        with pytest.raises(HacoreError) as caught:
            trained.with_selector(**options)
        names(str(caught.value), "selector 'learned':", "manner", "without training", "k")


def test_an_oracle_is_told_where_the_data_know(plugins, cli, names, trained_as, monkeypatch):
    from hacore_sort_of_clevr.dataset import SortOfClevr

    from hacore.data import Dataset

    trained = trained_as("all")
    words = ("selector.use=told", "selector.k=25")
    ran = json.loads(cli("eval", trained.folder.path, *words, "--split", "val", "--json").out)
    assert ran["oracle"] is True
    objects, questions = trained.dataset.objects("val"), trained.dataset.questions("val")
    rows = {number: row for row, number in enumerate(questions.ids.tolist())}
    for line in lines(ran["predictions"]):
        # Strongest first: the cells on the objects that the question is about, then the others.
        boxes_O4 = objects.boxes_IO4[line["image"]][objects.relevant_QO[rows[line["id"]]]] * 5
        told = {
            5 * y + x
            for left, top, right, bottom in boxes_O4.tolist()
            for y in range(5)
            for x in range(5)
            if x < right and x + 1 > left and y < bottom and y + 1 > top
        }
        assert set(line["cells"][: len(told)]) == told
    assert "oracle" in cli("eval", trained.folder.path, *words).out
    with pytest.raises(HacoreError) as caught:
        trained.ask(trained.dataset.images("val")[0], "how many?", selector={"use": "told"})
    names(str(caught.value), "oracle", "'hacore eval'")
    monkeypatch.setattr(SortOfClevr, "objects", Dataset.objects)
    error = cli("eval", trained.folder.path, *words).error
    names(error, "dataset 'sort-of-clevr'", "objects", "selector 'told'")


def test_tables_and_pages_do_not_mind_the_files(cli, trained_as, tmp_path):
    pytest.importorskip("hacore_report")
    runs = [trained_as(kind).folder.path for kind in ("all", "han")]

    def shown():
        page = tmp_path / "both.html"
        assert cli("report", *runs, "--output", page, "--device", "cpu").status == 0
        return cli("table", *runs).out, page.read_text()

    before = shown()
    for run in runs:
        assert cli("eval", run, "selector.use=l2-topk", "selector.k=2").status == 0
    assert shown() == before


def test_what_is_printed(cli, trained_as):
    trained = trained_as("han")
    ran = cli("eval", trained.folder.path, "selector.k=3", "--split", "val")
    printed = dict(line.split(": ", 1) for line in ran.out.splitlines() if ": " in line)
    assert printed["selector"] == 'use = "l2-topk", k = 3'
    result = hacore.evaluate_run(trained.with_selector(k=3), split="val")
    assert printed["multiply-adds of a question"] == f"{result.multiply_adds:,}"
    assert printed["predictions"] == result.predictions


def test_the_name_of_a_selector_that_is_not_there_is_a_mistake_of_the_spec(trained_as):
    with pytest.raises((SpecError, PluginError)):
        trained_as("all").with_selector(use="")
