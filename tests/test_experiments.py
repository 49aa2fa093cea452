"""Every spec under experiments/, a sweep in each combination, is valid, trains, and leaves its folder."""

import functools
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hacore_clevr import GenerateConfig
from hacore_clevr.attributes import empty_places
from hacore_clevr.generate.command import generate
from hacore_daquar.miniature import write_daquar
from hacore_features.make import make_features
from hacore_vqa.miniature import write_cp, write_v2
from PIL import Image

from hacore.data_tools import Silent
from hacore.machine.files import load_tensors
from hacore.spec import SECTIONS, dump_spec, load_spec, load_sweep, resolve, set_values
from hacore.workflow import check, run

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SPECS = sorted(EXPERIMENTS.rglob("*.toml"))
SWEEPS = [path for path in SPECS if "sweep" in tomllib.loads(path.read_text(encoding="utf-8"))]

# What each spec is about; everything else is that of han_rn.toml in its folder, or of han_rn_base.toml.
ABOUT = {
    "han_rn": {"aggregator", "train"},
    "han_rn_base": set(),
    "han_sum": {"aggregator", "fuser"},
    "adahan_rn": {"selector"},
    "adahan_sum": {"selector", "aggregator", "fuser"},
    "san": {"selector", "aggregator", "fuser"},
    "sum": {"selector", "aggregator", "fuser"},
    "rn": {"selector"},
    "han_non_local": {"aggregator", "fuser"},
    "han_rn_full": {"train", "eval"},
    "clevr/han_rn": set(),
    "clevr/han_sum": {"aggregator"},
    "clevr/adahan_rn": {"selector"},
    "clevr/san": {"selector", "aggregator"},
    "clevr/han_rn_plus": {"image_encoder", "question_encoder", "fuser"},
    "clevr/han_sum_plus": {"image_encoder", "question_encoder", "fuser", "aggregator"},
    "clevr/han_rn_plus_plus": {"image_encoder", "question_encoder", "fuser", "selector", "data", "train"},
    "clevr/small/han_rn": set(),
    "clevr/small/han_sum": {"aggregator", "fuser"},
    "clevr/small/adahan_rn": {"selector"},
    "clevr/small/san": {"selector", "aggregator", "fuser"},
    "clevr/small/sum": {"selector", "aggregator", "fuser"},
    "clevr/small/rn": {"selector"},
    "clevr/small/film_sum": {"selector", "aggregator", "fuser"},
    "clevr/small/han_transformer": {"aggregator"},
    "clevr/small/han_mac": {"aggregator"},
    "vqa/han_rn": set(),
    "folder/han_rn": set(),
    "easy_vqa/han_rn": set(),
    "easy_vqa/han_sum": {"aggregator"},
    "easy_vqa/adahan_sum": {"selector", "aggregator"},
    "easy_vqa/san": {"selector", "aggregator"},
    "easy_vqa/sum": {"selector", "aggregator"},
}

# The Relation Network of its own paper and what stands alone in its folder: variants of no han_rn.toml.
ITS_OWN = {
    "clevr/rn",
    "clevr/attributes",
    "clevr/attributes_192",
    "clevr/han_mac",
    "clevr/han_mac_192",
    "clevr/han_mac_192_pixels",
    "clevr/han_mac_words",
    "clevr/han_rn_attributes",
    "daquar/han_sum",
    "daquar/question_only",
}

VQA_CP_DATA = {"data.use", "data.root", "data.images"}
DAQUAR_MODEL = {"image_encoder", "features"}
CELLS_DATA = {"data.root", "data.dev_images"}
CELLS_MODEL = {"image_encoder", "features", "aggregator"}

# What the combinations of each sweep are about (sections, and options of the base's data), and the spec that
# they share the rest with.
SWEPT = {
    "tables/table1": ("han_rn_base", {"selector", "aggregator", "fuser"}),
    "tables/table2": ("han_rn_base", {"selector", "aggregator", "fuser"}),
    "tables/table3": ("han_rn_base", {"selector", "image_encoder"}),
    "selectors/sum_10": ("han_sum", {"selector", "features", "train", "eval"}),
    "selectors/sum_5_20": ("han_sum", {"selector", "features", "train", "eval"}),
    "selectors/rn_10": ("han_rn_base", {"selector", "features", "train", "eval"}),
    "clevr/small/k": ("clevr/small/han_rn", {"selector"}),
    "daquar/table1": ("daquar/han_sum", {"eval", "selector", "aggregator"}),
    "daquar/table2": ("daquar/han_sum", {"eval", "selector"}),
    "daquar/table3": ("daquar/han_sum", {"eval", "selector", "image_encoder", "features"}),
    "daquar/film": ("daquar/han_sum", {"data.answers", *DAQUAR_MODEL, "fuser", "selector", "eval"}),
    "clevr/cells": ("clevr/han_mac", {*CELLS_DATA, *CELLS_MODEL, "selector", "train", "eval"}),
    "vqa_cp/table1": ("vqa/han_rn", {*VQA_CP_DATA, "eval", "features", "selector", "aggregator", "fuser"}),
    "vqa_cp/table2": ("vqa/han_rn", {*VQA_CP_DATA, "eval", "features", "selector", "aggregator", "fuser"}),
    "vqa_cp/table3": ("vqa/han_rn", {*VQA_CP_DATA, "eval", "features", "selector", "image_encoder"}),
}

# Without the weights of other specs' runs, which are not there.
FROM_SCRATCH = (
    "image_encoder.weights=none",
    "image_encoder.frozen=false",
    "features.root=none",
    "train.init=none",
)

# A few steps on one core, whatever the spec's own images and network.
SMALL_NETWORK = {
    "resnet": ("image_encoder.depth=18", "image_encoder.stage=2"),
    "torchvision": ("image_encoder.layer=features.6",),
    "timm": ("image_encoder.model=test_resnet", "image_encoder.layer=1"),
}
SMALL = (
    "data.size=[64, 64]",
    "image_encoder.pool=none",
    "image_encoder.weights=none",
    "question_encoder.embedding=8",
    "question_encoder.hidden=16",
    "fuser.width=16",
    "head.hidden=[16]",
)


def named(path):
    return path.relative_to(EXPERIMENTS).with_suffix("").as_posix()


combinations_of = functools.cache(lambda path: load_sweep(path).combinations)


def load(path, number):
    return load_spec(path) if number is None else combinations_of(path)[number].spec


def network(spec):
    """What a model is made of, but for the options of the selector and of the training."""
    table = sections(spec)
    rest = {key: value for key, value in table.items() if key not in ("name", "seed", "train", "eval")}
    return {json.dumps({**rest, "selector": spec.selector.use}, sort_keys=True)}


def components(spec):
    """The components, each with the data set."""
    return {(spec.data.use, section, spec.section(section).use) for section in SECTIONS}


def chosen_runs(parts):
    """(path, None) of each spec, and (path, number) of each combination that has a part no other had."""
    known = set()
    for path in sorted(SPECS, key=lambda path: path in SWEEPS):
        if path not in SWEEPS:
            known |= parts(load_spec(path))
            yield pytest.param(path, None, id=named(path))
            continue
        for number, combination in enumerate(combinations_of(path)):
            if new := parts(combination.spec) - known:
                known |= new
                yield pytest.param(path, number, id=f"{named(path)}: {combination.spec.name}")


def sections(spec):
    """The spec as its file has it, by section."""
    return tomllib.loads(dump_spec(spec))


each_network = pytest.mark.parametrize(("path", "number"), list(chosen_runs(network)))
each_component = pytest.mark.parametrize(("path", "number"), list(chosen_runs(components)))


def test_there_are_specs():
    assert EXPERIMENTS / "han_rn.toml" in SPECS
    assert {named(path) for path in SWEEPS} == set(SWEPT)
    assert {named(path) for path in SPECS} == {*SWEPT, *ABOUT, *ITS_OWN}


def test_run_folders_of_two_specs_have_two_names():
    names = [tomllib.loads(path.read_text(encoding="utf-8"))["name"] for path in SPECS]
    assert len(set(names)) == len(names)


@pytest.fixture(scope="session")
def clevr(tmp_path_factory):
    """Makes a small CLEVR of 40 training and 5 test images of a size, once."""
    folders = {}

    def make(size):
        if size not in folders:
            folders[size] = tmp_path_factory.mktemp("clevr") / f"{size[0]}x{size[1]}"
            config = GenerateConfig(
                images=50,
                val_images=5,
                test_images=5,
                questions_per_image=4,
                size=size,
                packed=True,
                output=str(folders[size]),
                device="cpu",
            )
            assert not generate(config, Silent()).problems
        return folders[size]

    return make


@pytest.fixture(scope="session")
def vqa(tmp_path_factory):
    """The options of the data that make it the miniature in the official format, for both data sets."""
    v2 = write_v2(tmp_path_factory.mktemp("vqa") / "v2")
    cp = write_cp(v2, tmp_path_factory.mktemp("vqa") / "cp")
    return {
        "vqa-v2": [f"data.root={v2}"],
        "vqa-cp-v2": [f"data.root={cp}", f"data.images={v2}", "data.validation=0.3"],
    }


@pytest.fixture(scope="session")
def mine(tmp_path_factory):
    """A folder of ten pictures with two questions about each; two pictures are the test."""
    root = tmp_path_factory.mktemp("mine")
    lines = ["image,question,answer,split"]
    for number in range(10):
        split = ("train", "train", "train", "val", "test")[number % 5]
        Image.new("RGB", (40, 30), (255, 25 * number, 0)).save(root / f"{number}.png")
        lines.append(f"{number}.png,is it yellow?,{'yes' if number > 5 else 'no'},{split}")
        lines.append(f"{number}.png,what is it?,a picture,{split}")
    (root / "questions.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def daquar(tmp_path_factory):
    """DAQUAR in miniature: 6 test images, three questions about each."""
    return write_daquar(tmp_path_factory.mktemp("daquar"))


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """Where the feature stores that specs name are made; those of one name once."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def small(tiny, clevr, vqa, mine, daquar):
    """Overrides that make a spec run in a second, those of the data apart."""

    def overrides(path, number):
        spec = load(path, number)
        data = [override for override in tiny if override.startswith("data.")]
        rest = [override for override in tiny if not override.startswith("data.")]
        if spec.data.use in vqa:
            data = vqa[spec.data.use]
        if spec.data.use == "folder":
            data = [f"data.root={mine}"]
        if spec.data.use == "daquar":
            data = [f"data.root={daquar}"]
        if spec.data.use == "easy-vqa":  # which comes as it is
            data = []
        if spec.data.use == "clevr":
            data = [f"data.root={clevr(spec.data.options.size)}"]
            # With a split dev the final one is val, and both have five images.
            data += ["data.dev_images=5"] if spec.data.options.dev_images else []
        if spec.image_encoder.use != "small-cnn":
            rest = [override for override in rest if not override.startswith("image_encoder.")]
            rest += [*SMALL_NETWORK[spec.image_encoder.use], *SMALL]
        elif spec.image_encoder.options.weights or spec.train.init:
            rest += FROM_SCRATCH
        return data, rest

    return overrides


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_a_spec_resolves_and_says_what_it_is(path):
    name = (load_sweep(path) if path in SWEEPS else load_spec(path)).name
    # Run folders are called by the name.
    assert name in (path.stem, "_".join(path.relative_to(EXPERIMENTS).with_suffix("").parts))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "begin with a comment: what it shows and what it costs"
    assert text == text.strip() + "\n"


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_a_spec_that_extends_another_says_only_what_differs(path):
    """What is said again would stay behind when the other file changes."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    if "extends" not in table:
        assert path.stem == "han_rn" or named(path) in ITS_OWN
        return
    base = sections(load_spec(path.parent / table["extends"], ["sweep=none"]))
    for section in table.keys() & base.keys() - {"name"}:
        own, inherited = table[section], base[section]
        if own.get("use", inherited.get("use")) == inherited.get("use"):
            assert not [key for key, value in own.items() if inherited.get(key) == value], section


def changed(spec, overrides):
    """The spec with other values; of a combination, whose own values came last, too."""
    table = tomllib.loads(dump_spec(spec))
    set_values(table, overrides)
    return resolve(table)


def asked(spec):
    """How many questions the final split of the test's data has."""
    if getattr(spec.data.options, "about", "") == "attributes":
        # Four about each object, and whether it and each empty place is one.
        with np.load(Path(spec.data.options.root, f"{spec.eval.final_split}.questions.npz")) as columns:
            attributes, boxes = columns["attributes"], columns["boxes"]
        empty = empty_places((boxes[..., :2] + boxes[..., 2:]) / 2, spec.data.options.empty_places)
        return int((attributes >= 0).sum() * 5 / 4 + np.isfinite(empty).all(-1).sum())
    if not spec.data.use.startswith("vqa"):
        return {"clevr": 20, "daquar": 18, "folder": 4, "sort-of-clevr": 100, "easy-vqa": 9673}[spec.data.use]
    name = {"vqa-v2": "v2_OpenEnded_mscoco_val2014", "vqa-cp-v2": "vqacp_v2_test"}[spec.data.use]
    official = json.loads(Path(spec.data.options.root, f"{name}_questions.json").read_text(encoding="utf-8"))
    return len(official["questions"] if isinstance(official, dict) else official)


@each_network
def test_a_spec_composes_at_its_own_size(path, number, small):
    spec = changed(load(path, number), small(path, number)[0])
    if spec.image_encoder.use in SMALL_NETWORK:
        # Without the weights, which the test does not have; only one combination with all layers of a ResNet.
        deep = spec.image_encoder.use == "resnet" and number not in (None, 0)
        depth = ("image_encoder.depth=18",) if deep else ()
        spec = changed(spec, ["image_encoder.weights=none", "features.root=none", *depth])
    elif spec.image_encoder.options.weights or spec.train.init:
        spec = changed(spec, FROM_SCRATCH)
    report = check(spec)
    assert sum(stage.multiply_adds for stage in report.stages) > 10_000
    assert report.questions[spec.eval.final_split] == asked(spec)


@each_component
def test_a_spec_runs_and_leaves_a_whole_folder(path, number, small, stores, tmp_path):
    data, rest = small(path, number)
    spec = changed(load(path, number), [*data, *rest])
    if spec.features.root:
        spec = changed(spec, [f"features.root={stores / spec.features.root}"])
        make_features(spec, spec.features.root, device="cpu")
    folder, result = run(spec, runs=tmp_path, device="cpu")
    assert result == json.loads(folder.result_file.read_text(encoding="utf-8"))
    assert result["name"] == spec.name
    assert result["training"]["steps"] == 3
    assert result["questions"] == asked(spec)
    assert 0 <= result["accuracy"] <= 1
    assert 0 < result["kept"] <= 1
    assert set(result["baselines"]) == {"majority", "question_only"}
    # The resolved spec is the run's, and runs again.
    assert load_spec(folder.spec_file) == spec
    environment = json.loads(folder.environment_file.read_text(encoding="utf-8"))
    assert environment["components"]["selector"]["name"] == spec.selector.use
    lines = [json.loads(line) for line in folder.metrics_file.read_text(encoding="utf-8").splitlines()]
    assert [line["kind"] for line in lines[-2:]] == ["train", "eval"]
    assert lines[-1]["step"] == 3
    predictions = folder.predictions_file(spec.eval.final_split).read_text(encoding="utf-8").splitlines()
    assert len(predictions) == asked(spec)
    lines = [json.loads(line) for line in predictions]
    right = [line["answer"] == line["prediction"] for line in lines]
    if spec.data.use.startswith("vqa"):  # ten people's answers, of which several may score
        right = [line["score"] for line in lines]
    assert sum(right) / len(right) == pytest.approx(result["accuracy"], abs=1e-6)
    _, state = load_tensors(folder.last)
    assert state["step"] == 3
    assert folder.best.is_file()
    assert not list(folder.path.rglob("*.tmp"))


@pytest.mark.parametrize("name", ABOUT)
def test_specs_differ_from_their_base_only_in_what_they_are_about(name):
    """So that a difference in accuracy is that of selector and aggregator, and recipes do not drift."""
    path = EXPERIMENTS / f"{name}.toml"
    base_path = path.with_name("han_rn_base.toml" if "/" not in name else "han_rn.toml")
    base, spec = sections(load_spec(base_path)), sections(load_spec(path))
    different = {key for key in base if base[key] != spec[key]}
    own_name = set() if path == base_path else {"name"}
    if path.stem == "han_rn_full":
        assert own_name <= different <= own_name | ABOUT[name]
    else:
        assert different == own_name | ABOUT[name]


@pytest.mark.parametrize("name", SWEPT)
def test_sweeps_are_their_base_but_for_what_they_vary(name):
    """Except for its number of epochs, a shortened sweep has the recipe of its base."""
    of, about = SWEPT[name]
    base = sections(load_spec(EXPERIMENTS / f"{of}.toml"))
    combinations = combinations_of(EXPERIMENTS / f"{name}.toml")
    different = set()
    for combination in combinations:
        spec = sections(combination.spec)
        spec["train"]["epochs"] = base["train"]["epochs"]
        different |= {key for key in base | spec if base.get(key) != spec.get(key)} - {"data"}
        different |= {f"data.{key}" for key, value in base["data"].items() if spec["data"][key] != value}
    seeds = {combination.seed for combination in combinations}
    assert different == {"name"} | ({"seed"} if len(seeds) > 1 else set()) | about
    assert len(seeds) == {"clevr/small/k": 1, "selectors/sum_10": 5}.get(name, 3)
