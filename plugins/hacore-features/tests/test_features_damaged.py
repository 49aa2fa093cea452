"""Stores whose descriptions are damaged."""

import json
import shutil

import pytest

from hacore.errors import DataError
from hacore.features.store import FeatureStore


@pytest.fixture
def store(whole, tmp_path):
    """A copy, to be damaged."""
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("splits", {"train": "[1, 2]"}),
        ("splits", {"train": [1, 2]}),
        ("grid", [0, 3]),
        ("grid", [2**63, 2**63]),
        ("image_size", [3, 75, 10**400]),
        ("pool", [10**400, 1]),
        ("channels", -1),
        ("channels", "3"),
        ("shard_images", 0),
        ("dtype", "object"),
        ("images", {"train": 2**63, "val": 1, "test": 1}),
        ("images", {}),
        ("image_mean", None),
    ],
)
def test_a_description_of_no_store(store, names, key, value):
    path = store / "description.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError) as error:
        FeatureStore.open(store)
    names(str(error.value), f"{path}:", "damaged", f"hacore features SPEC --output {store}")


@pytest.mark.parametrize("name", ["description.json", "shards.json"])
def test_nested_too_deeply(store, names, name):
    (store / name).write_text("[" * 100_000)
    with pytest.raises(DataError) as error:
        FeatureStore.open(store)
    names(str(error.value), f"{store / name}:", "damaged")


def test_a_folder_in_place_of_a_checksum_is_told_before_the_shard_is_made_again(
    store, names, make_spec, one_thread
):
    from hacore_features.make import make_features

    entry = sorted(store.glob("*-00000.json"))[0]
    shard = entry.with_suffix(".npy").read_bytes()
    entry.unlink()
    entry.mkdir()
    with pytest.raises(DataError) as error:
        make_features(make_spec(), store, device="cpu", dtype="float32")
    names(str(error.value), f"{entry}:", "folder", "remove it")
    assert entry.with_suffix(".npy").read_bytes() == shard
