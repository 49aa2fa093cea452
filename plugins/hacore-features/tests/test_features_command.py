"""``hacore features`` with a spec that is a sweep."""

import json
import tomllib

import pytest
import toml

from hacore.features.store import FeatureStore

SWEEP = """
[[sweep]]
seeds = [0, 1]
selector.k = [4, 6]
features.root = ["stores/second"]
image_encoder.stage = [2]

[[sweep]]
selector.k = [4]
features.root = ["stores/first"]
image_encoder.stage = [1]

[[sweep]]
selector.k = [4]
image_encoder.frozen = [false]
"""


@pytest.fixture
def write(make_table, tmp_path, monkeypatch):
    """write("[sweep] ..."): a spec of the frozen ResNet with this sweep, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def make(sweep):
        table = make_table()
        text = toml.dumps(table) + sweep
        assert tomllib.loads(text)["sweep"]
        (tmp_path / "spec.toml").write_text(text)
        return "spec.toml"

    return make


def test_every_store_that_a_sweep_names_is_made_once(write, cli):
    path = write(SWEEP)
    ran = cli("features", path, "--device", "cpu", "--json")
    assert ran.status == 0, ran
    stores = json.loads(ran.out)
    assert [entry["root"] for entry in stores] == ["stores/second", "stores/first"]
    assert [entry["description"]["channels"] for entry in stores] == [128, 64]
    assert all(entry["images"] == 35 for entry in stores)
    for entry in stores:
        assert FeatureStore.open(entry["root"]).images("train")
    output = cli("features", path, "--device", "cpu").out
    assert output.count("encoded now: 0 images") == 2
    assert "train on them: hacore sweep spec.toml" in output
    # The runs take them.
    ran = cli("sweep", path, "--device", "cpu", "--jobs", "1", "--set", "train.steps=2", "--seed", "1")
    assert ran.status == 0, ran


def test_a_store_that_runs_with_two_encoders_name_is_refused(write, cli, names):
    path = write('[sweep]\nfeatures.root = ["one"]\nimage_encoder.stage = [1, 2]')
    message = cli("features", path, "--device", "cpu").error
    names(message, "spec.toml:", "features.root:", "'one'", "different image encoders", "its own store")


def test_a_sweep_without_a_store(write, cli, names):
    path = write("[sweep]\nselector.k = [4, 6]")
    names(cli("features", path).error, "spec.toml:", "feature store", "set features.root")
    ran = cli("features", path, "--output", "elsewhere")
    assert ran.status == 2
    names(ran.err.splitlines()[-1], "stores of a sweep", "set features.root")
