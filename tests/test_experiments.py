"""Every spec under experiments/, a sweep in each combination, is valid, trains, and leaves its folder."""

import json
import tomllib
from pathlib import Path

import pytest
from hacore_clevr import GenerateConfig
from hacore_clevr.generate.command import generate

from hacore.files import load_tensors
from hacore.spec import dump_spec, load_spec, load_sweep
from hacore.tools import Silent
from hacore.workflow import check, run

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SPECS = sorted(EXPERIMENTS.rglob("*.toml"))
SWEEPS = [path for path in SPECS if "sweep" in tomllib.loads(path.read_text(encoding="utf-8"))]

# What each spec beside han_rn.toml is about; everything else is han_rn.toml's.
ABOUT = {
    "han_rn": set(),
    "han_sum": {"aggregator", "fuser"},
    "adahan_rn": {"selector"},
    "adahan_sum": {"selector", "aggregator", "fuser"},
    "san": {"selector", "aggregator", "fuser"},
    "sum": {"selector", "aggregator", "fuser"},
    "rn": {"selector"},
    "han_non_local": {"aggregator", "fuser"},
    "han_rn_full": {"train", "eval"},
}

# What the combinations of each sweep may be about.
SWEPT = {
    "table1": {"selector", "aggregator", "fuser"},
    "table2": {"selector", "aggregator", "fuser"},
    "table3": {"selector", "image_encoder"},
    "k": {"selector"},
}


def named(path):
    return path.relative_to(EXPERIMENTS).with_suffix("").as_posix()


def single_runs():
    """(path, None) of each spec, (path, number) of each combination of a sweep, for its first seed."""
    for path in SPECS:
        if path not in SWEEPS:
            yield pytest.param(path, None, id=named(path))
            continue
        seen = []
        for number, it in enumerate(load_sweep(path).combinations):
            if it.values not in seen:
                seen.append(it.values)
                yield pytest.param(path, number, id=f"{named(path)}: {it.spec.name}")


each_run = pytest.mark.parametrize(("path", "number"), list(single_runs()))


def load(path, number, overrides=()):
    if number is None:
        return load_spec(path, overrides)
    return load_sweep(path, overrides).combinations[number].spec


def test_there_are_specs():
    assert EXPERIMENTS / "han_rn.toml" in SPECS
    assert {path.stem for path in SWEEPS} == set(SWEPT)


def test_run_folders_of_two_specs_have_two_names():
    names = [tomllib.loads(path.read_text(encoding="utf-8"))["name"] for path in SPECS]
    assert len(set(names)) == len(names)


@pytest.fixture(scope="session")
def clevr(tmp_path_factory):
    """Makes a small CLEVR of 40 training and 5 test images of a size, once."""
    made = {}

    def make(size):
        if size not in made:
            made[size] = tmp_path_factory.mktemp("clevr") / f"{size[0]}x{size[1]}"
            config = GenerateConfig(
                images=50,
                val_images=5,
                test_images=5,
                questions_per_image=20,
                size=size,
                packed=True,
                output=str(made[size]),
                device="cpu",
            )
            assert not generate(config, Silent()).problems
        return made[size]

    return make


@pytest.fixture
def small(tiny, clevr):
    """Overrides that make a spec run in a second, those of the data apart."""

    def overrides(path):
        spec = tomllib.loads(path.read_text(encoding="utf-8"))
        data = [override for override in tiny if override.startswith("data.")]
        rest = [override for override in tiny if not override.startswith("data.")]
        if spec["data"]["use"] == "clevr":
            data = [f"data.root={clevr(tuple(spec['data'].get('size', (128, 128))))}"]
            # With a split dev the final one is val, and both have five images.
            data += ["data.dev_images=5"] if "dev_images" in spec["data"] else []
        if spec["image_encoder"]["use"] != "small-cnn":
            rest = [override for override in rest if not override.startswith("image_encoder.")]
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


@each_run
def test_a_spec_composes_at_its_own_size(path, number, small):
    spec = load(path, number, small(path)[0])
    found = check(spec)
    assert sum(stage.multiply_adds for stage in found.stages) > 10_000
    assert found.questions[spec.eval.final_split] == 100


@each_run
def test_a_spec_runs_and_leaves_a_whole_folder(path, number, small, tmp_path):
    data, rest = small(path)
    spec = load(path, number, [*data, *rest])
    folder, result = run(spec, runs=tmp_path, device="cpu")
    assert result == json.loads(folder.result_file.read_text(encoding="utf-8"))
    assert result["name"] == spec.name
    assert result["training"]["steps"] == 3
    assert result["questions"] == 100
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
    assert len(predictions) == 100
    right = [json.loads(line)["answer"] == json.loads(line)["prediction"] for line in predictions]
    assert sum(right) / len(right) == pytest.approx(result["accuracy"], abs=1e-6)
    _, state = load_tensors(folder.last)
    assert state["step"] == 3
    assert folder.best.is_file()
    assert not list(folder.path.rglob("*.tmp"))


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_specs_differ_from_han_rn_only_in_what_they_are_about(path):
    """So that a difference in accuracy is that of selector and aggregator, and recipes do not drift."""
    assert path.stem in ABOUT, "say in ABOUT what this spec is about, or put it into a folder"
    base = tomllib.loads(dump_spec(load_spec(EXPERIMENTS / "han_rn.toml")))
    spec = tomllib.loads(dump_spec(load_spec(path)))
    different = {key for key in base if base[key] != spec[key]}
    name = set() if path.stem == "han_rn" else {"name"}
    if path.stem == "han_rn_full":
        assert name <= different <= name | ABOUT[path.stem]
    else:
        assert different == name | ABOUT[path.stem]


@pytest.mark.parametrize("path", SWEEPS, ids=named)
def test_sweeps_are_han_rn_but_for_what_they_vary(path):
    """Except for its epochs, a sweep has the recipe of its folder's han_rn.toml, or of the main one."""
    own = path.with_name("han_rn.toml")
    base = tomllib.loads(dump_spec(load_spec(own if own.exists() else EXPERIMENTS / "han_rn.toml")))
    found = set()
    for it in load_sweep(path).combinations:
        spec = tomllib.loads(dump_spec(it.spec))
        spec["train"]["epochs"] = base["train"]["epochs"]
        found |= {key for key in base if base[key] != spec[key]}
    assert found - {"seed"} == {"name"} | SWEPT[path.stem]
    if path.parent.name == "tables":
        assert len({it.seed for it in load_sweep(path).combinations}) == 3
