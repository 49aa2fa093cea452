"""A shard is whole or absent, whatever was killed when."""

import hashlib
import json

import numpy as np
import pytest
from hacore_features.shards import finish_shard, shard_entry, shard_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.errors import DataError
from hacore.features.store import image_digests

SHAPE = (7, 3, 5)
ROWS = np.random.default_rng(0).normal(size=SHAPE).astype(np.float16)
DIGESTS = image_digests(np.random.default_rng(1).integers(0, 256, (7, 3, 4, 4), np.uint8))


def append(writer, count):
    start, stop = writer.missing(count)[0]
    writer.write(start, ROWS[start:stop], DIGESTS[start:stop])


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=7),
    torn=st.binary(min_size=1, max_size=29),
)
def test_a_shard_is_the_same_however_often_its_writer_is_killed(tmp_path_factory, sizes, torn):
    path = tmp_path_factory.mktemp("shard") / "train-00000.npy"
    part, journal = (path.with_name(f".{path.name}.{end}") for end in ("part", "rows"))
    done = 0
    for size in sizes:
        with shard_writer(path, SHAPE, "float16") as writer:
            assert writer.done == done
            if done == SHAPE[0]:
                break
            append(writer, size)
            done = writer.done
        # The next was killed in the middle of writing rows and their line.
        if done < SHAPE[0]:
            with open(part, "r+b") as file:
                file.seek(128 + done * 30)
                file.write(torn)
        with open(journal, "ab") as file:
            file.write(b'\n{"start": 0, "stop')
    assert not path.exists()
    with shard_writer(path, SHAPE, "float16") as writer:
        while writer.missing(7):
            append(writer, 7)
        finish_shard(writer, path)
    assert np.array_equal(np.load(path), ROWS)
    entry = json.loads(shard_entry(path).read_text())
    assert entry["bytes"] == path.stat().st_size
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["images"] == "".join(DIGESTS)
    assert sorted(file.name for file in path.parent.iterdir()) == ["train-00000.json", "train-00000.npy"]


def test_two_writers_of_one_shard_do_not_meet(tmp_path):
    path = tmp_path / "train-00000.npy"
    with (
        shard_writer(path, SHAPE, "float16"),
        pytest.raises(DataError, match=r"train-00000\.npy: another process is writing it; wait for it"),
        shard_writer(path, SHAPE, "float16"),
    ):
        pass
    with shard_writer(path, SHAPE, "float16"):
        pass


def test_a_shard_that_is_not_whole_gets_no_name(tmp_path):
    path = tmp_path / "train-00000.npy"
    with shard_writer(path, SHAPE, "float16") as writer:
        append(writer, 3)
        with pytest.raises(ValueError, match="rows from 3 were not written"):
            finish_shard(writer, path)
    assert not path.exists()
    assert not shard_entry(path).exists()
