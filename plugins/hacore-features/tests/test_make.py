"""A store is filled once, whatever interrupts it and however many do it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import toml
import torch
from hacore_features import make
from hacore_features.make import make_features
from hacore_small_cnn.encoder import SmallCNN

import hacore
from hacore.errors import ComposeError, DataError, HacoreError
from hacore.features.store import FeatureStore

SPLITS = {"train": 24, "val": 6, "test": 5}


def contents(root):
    """Every file by name; nothing hidden is left."""
    assert not [path.name for path in root.iterdir() if path.name.startswith(".")]
    return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


def fill(spec, root, **options):
    return make_features(
        spec,
        root,
        **{"device": "cpu", "dtype": "float32", "batch_images": 3, "shard_bytes": 8 * 51200, **options},
    )


def test_features_are_those_of_the_encoder(make_spec, whole):
    spec, store = make_spec(), FeatureStore.open(whole)
    dataset = hacore.open_dataset(spec.data)
    model = hacore.compose(spec, dataset.sizes()).eval()
    assert store.splits == tuple(SPLITS)
    for split, count in SPLITS.items():
        images = dataset.images(split)
        with torch.no_grad():
            wanted = model.image_encoder(torch.from_numpy(np.array(images))).features.numpy()
        features = store.images(split)
        assert len(features) == count
        # Batches of another size are added up in another order.
        np.testing.assert_allclose(features[:], wanted, rtol=1e-4, atol=1e-5)
    assert len(list(whole.glob("train-*.npy"))) == 3


def test_a_finished_store_is_left_alone(make_spec, whole, tmp_path):
    root = shutil.copytree(whole, tmp_path / "copy")
    before = contents(root)
    report = fill(make_spec(), root)
    assert (report.images, report.missing) == (0, [])
    assert contents(root) == before


def run_command(spec, root, rank=None, processes=1):
    place = {} if rank is None else {"RANK": str(rank), "WORLD_SIZE": str(processes)}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "hacore", "features", str(spec), "--output", str(root)),
            *("--device", "cpu", "--dtype", "float32", "--batch-images", "1"),
        ],
        env={**os.environ, **place},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_killed_in_the_middle_of_a_shard(make_table, tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(toml.dumps(make_table({"data.images": 300})))
    resolved = hacore.load_spec(spec)
    hacore.open_dataset(resolved.data)
    fill(resolved, tmp_path / "uninterrupted", batch_images=1, shard_bytes=make.SHARD_BYTES)
    root = tmp_path / "killed"
    process = run_command(spec, root)
    journal = root / ".train-00000.npy.rows"
    while process.poll() is None and not (journal.is_file() and journal.read_bytes().count(b"\n") > 6):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match=r"not finished.*: hacore features SPEC"):
        FeatureStore.open(root)
    report = fill(resolved, root, batch_images=1, shard_bytes=make.SHARD_BYTES)
    assert 0 < report.images < 300
    assert contents(root) == contents(tmp_path / "uninterrupted")


def test_two_processes_make_what_one_makes(make_table, make_spec, whole, tmp_path):
    spec, root = tmp_path / "spec.toml", tmp_path / "both"
    spec.write_text(toml.dumps(make_table()))
    # The sizes of shards are those that the folder says.
    fill(make_spec(), root, batch_images=1, splits=["test"])
    workers = [run_command(spec, root, rank, 2) for rank in range(2)]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    fill(make_spec(), tmp_path / "one", batch_images=1)
    mine, other = contents(root), contents(tmp_path / "one")
    described = [json.loads(files.pop("description.json")) for files in (mine, other)]
    assert described[0] == described[1]
    shards = [json.loads(files.pop("shards.json")) for files in (mine, other)]
    assert shards[0] == shards[1]
    assert mine == other
    assert any("process 1: train: " in output for output in outputs)


def test_splits_are_added_to_a_store(make_spec, whole, tmp_path):
    root = tmp_path / "parts"
    fill(make_spec(), root, splits=["val", "train"])
    assert FeatureStore.open(root).splits == ("val", "train")
    with pytest.raises(DataError, match=r"split 'test'.*val, train.*make them with"):
        FeatureStore.open(root).images("test")
    report = fill(make_spec(), root)
    assert report.images == SPLITS["test"]
    mine, other = FeatureStore.open(root), FeatureStore.open(whole)
    assert [
        split for split in SPLITS if not np.array_equal(mine.images(split)[:], other.images(split)[:])
    ] == []


def test_splits_with_the_same_images_share_their_features(make_spec, tmp_path, monkeypatch):
    dataset = hacore.open_dataset(make_spec().data)
    images = {"train": dataset.images("train"), "val": dataset.images("val"), "test": dataset.images("val")}
    monkeypatch.setattr(type(dataset), "images", lambda self, split: images[split])
    report = fill(make_spec(), tmp_path / "shared")
    assert report.images == SPLITS["train"] + SPLITS["val"]
    store = FeatureStore.open(tmp_path / "shared")
    assert store.images("val") is store.images("test")


def test_a_cut_shard_is_named_and_made_again(make_spec, names, whole, tmp_path):
    root = shutil.copytree(whole, tmp_path / "cut")
    before = contents(root)
    with open(root / "train-00001.npy", "r+b") as file:
        file.truncate(100_000)
    (root / "val-00000.npy").unlink()
    with pytest.raises(DataError) as caught:
        FeatureStore.open(root)
    message = " ".join(str(caught.value).splitlines())
    names(message, f"{root}/train-00001.npy:", "100,000 bytes", "409,728")
    names(message, f"{root}/val-00000.npy:", "missing", f"hacore features SPEC --output {root}")
    assert fill(make_spec(), root).images == 8 + 6
    assert contents(root) == before


def test_verify_makes_again_what_is_damaged(make_spec, whole, tmp_path):
    root = shutil.copytree(whole, tmp_path / "damaged")
    before = contents(root)
    with open(root / "train-00002.npy", "r+b") as file:
        file.seek(1000)
        file.write(b"\x01")
    assert fill(make_spec(), root).images == 0
    assert contents(root) != before
    assert fill(make_spec(), root, verify=True).images == 8
    assert contents(root) == before


def test_verify_finds_an_image_that_changed(make_spec, whole, tmp_path, monkeypatch):
    root = shutil.copytree(whole, tmp_path / "changed")
    dataset = hacore.open_dataset(make_spec().data)
    images = {split: np.array(dataset.images(split)) for split in SPLITS}
    images["train"][17, 0, 3, 3] ^= 255
    monkeypatch.setattr(type(dataset), "images", lambda self, split: images[split])
    assert fill(make_spec(), root, verify=True).images == 8
    assert not np.array_equal(
        FeatureStore.open(root).images("train")[17:18], FeatureStore.open(whole).images("train")[17:18]
    )


def test_a_disk_that_is_too_small(make_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_700_000))
    with pytest.raises(DataError, match=r"0\.0 GB.*0\.0 GB.*free.*make room"):
        fill(make_spec(), tmp_path / "large")
    fill(make_spec({"features.pool": [5, 10]}), tmp_path / "small")


def test_features_that_the_type_cannot_hold(make_spec, tmp_path, weights):
    path = tmp_path / "large.pth"
    state = torch.load(weights(0))
    state["layer2.1.bn2.weight"] *= 1e6
    torch.save(state, path)
    spec = make_spec({"image_encoder.weights": str(path), "selector": {"use": "all-cells"}})
    with pytest.raises(DataError, match=r"image 0 of split train: .*float16.*--dtype float32"):
        fill(spec, tmp_path / "store", dtype="float16")
    assert fill(spec, tmp_path / "other").missing == []


def test_an_encoder_that_is_trained_is_refused(make_spec, tmp_path, monkeypatch):
    with pytest.raises(ComposeError, match=r"trained parameters.*set image_encoder\.frozen = true"):
        fill(make_spec({"image_encoder.frozen": False}), tmp_path / "store")
    small = make_spec({"image_encoder": {"use": "small-cnn"}})
    with pytest.raises(ComposeError, match=r"trained parameters.*set image_encoder\.frozen = true"):
        fill(small, tmp_path / "store")
    monkeypatch.setattr(SmallCNN, "freeze", "")  # as that of an encoder which cannot be frozen
    with pytest.raises(ComposeError, match="take an image encoder that is not trained"):
        fill(small, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_split_that_is_not_there(make_spec, tmp_path):
    with pytest.raises(HacoreError, match=r"'tset'.*train, val, test"):
        fill(make_spec(), tmp_path / "store", splits=["tset"])


def test_a_folder_with_other_files_is_refused(make_spec, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="other files than features"):
        fill(make_spec(), tmp_path)


def test_progress_counts_every_image_and_says_how_fast_it_goes(make_spec, tmp_path):
    calls = []
    fill(make_spec(), tmp_path / "store", progress=lambda *call: calls.append(call))
    assert {split: (done, total) for split, done, total, _ in calls} == {
        split: (n, n) for split, n in SPLITS.items()
    }
    assert all(re.fullmatch(r"[1-9][\d,]*\.\d images/s  \d:\d\d:\d\d left", state) for *_, state in calls)
    assert calls[-1][-1].endswith("  0:00:00 left")


def test_from_python_it_says_how_far_it_is_unless_it_is_quiet(make_spec, tmp_path, capsys):
    def said(root, **options):
        fill(make_spec(), tmp_path / root, **options)
        out, err = capsys.readouterr()
        assert out == ""
        return [line for line in err.splitlines() if "images/s" in line]

    assert [line.partition(" ")[0].rstrip(":") for line in said("loud")] == [*SPLITS]
    assert said("quiet", quiet=True) == []
    told = []
    assert said("told", progress=lambda *what: told.append(what[:3])) == []
    assert [(split, count, count) for split, count in SPLITS.items()] == [
        (split, done, total) for split, done, total in told if done == total
    ]
