"""Every spec under experiments/ is valid, trains, and leaves a whole run folder."""

import json
import tomllib
from pathlib import Path

import pytest

from hacore.files import load_tensors
from hacore.spec import dump_spec, load_spec
from hacore.workflow import check, run

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SPECS = sorted(EXPERIMENTS.rglob("*.toml"))

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

each_spec = pytest.mark.parametrize(
    "path", SPECS, ids=lambda path: path.relative_to(EXPERIMENTS).with_suffix("").as_posix()
)


def test_there_are_specs():
    assert EXPERIMENTS / "han_rn.toml" in SPECS


def small(path, tiny):
    """Overrides that make this spec run in a second: the encoder's only where it is the small CNN."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    if table["data"]["use"] != "sort-of-clevr":
        pytest.skip(f"needs the data of {table['data']['use']}")
    if table["image_encoder"]["use"] == "small-cnn":
        return list(tiny)
    return [override for override in tiny if not override.startswith("image_encoder.")]


@each_spec
def test_a_spec_resolves_and_says_what_it_is(path):
    spec = load_spec(path)
    assert spec.name == path.stem
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "begin with a comment: what it shows and what it costs"
    assert text == text.strip() + "\n"


@each_spec
def test_a_spec_composes_at_its_own_size(path, tiny):
    overrides = [override for override in small(path, tiny) if override.startswith("data.")]
    found = check(load_spec(path, overrides))
    assert sum(stage.multiply_adds for stage in found.stages) > 10_000
    assert found.questions["test"] == 100


@each_spec
def test_a_spec_runs_and_leaves_a_whole_folder(path, tiny, tmp_path):
    spec = load_spec(path, small(path, tiny))
    folder, result = run(spec, runs=tmp_path, device="cpu")
    assert result == json.loads(folder.result_file.read_text(encoding="utf-8"))
    assert result["name"] == path.stem
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
    predictions = folder.predictions_file("test").read_text(encoding="utf-8").splitlines()
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
