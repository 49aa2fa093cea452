"""A shard is whole or absent, whatever was killed when."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.errors import DataError
from hacore.features.writer import ShardWriter, image_digests, shard_entry

SHAPE = (7, 3, 5)
ROWS = np.random.default_rng(0).normal(size=SHAPE).astype(np.float16)
DIGESTS = image_digests(np.random.default_rng(1).integers(0, 256, (7, 3, 4, 4), np.uint8))


def append(writer, count):
    stop = min(writer.done + count, SHAPE[0])
    writer.append(ROWS[writer.done : stop], DIGESTS[writer.done : stop])


def killed(writer):
    """What a killed process leaves: the file is closed, and nothing else is done."""
    writer.close()


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=7),
    kills=st.sets(st.integers(0, 6)),
    torn=st.binary(max_size=40),
)
def test_a_shard_is_the_same_however_often_its_writer_is_killed(tmp_path_factory, sizes, kills, torn):
    path = tmp_path_factory.mktemp("shard") / "train-00000.npy"
    writer = ShardWriter(path, SHAPE, "float16")
    for number, size in enumerate([*sizes, 7]):
        if writer.done < SHAPE[0]:
            append(writer, size)
        if number in kills:
            done = writer.done
            killed(writer)
            # It was in the middle of writing rows and their line.
            with open(path.with_name(f".{path.name}.part"), "ab") as part:
                part.write(torn)
            with open(path.with_name(f".{path.name}.rows"), "ab") as journal:
                journal.write(b'\n{"images": ["01')
            writer = ShardWriter(path, SHAPE, "float16")
            assert writer.done == done
    assert not path.exists()
    writer.finish()
    assert np.array_equal(np.load(path), ROWS)
    entry = json.loads(shard_entry(path).read_text())
    assert entry["bytes"] == path.stat().st_size
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["images"] == "".join(DIGESTS)
    assert sorted(it.name for it in path.parent.iterdir()) == ["train-00000.json", "train-00000.npy"]


@pytest.mark.parametrize("length", [0, 60, 128, 150])
def test_a_part_that_lost_rows_is_begun_anew(tmp_path, length):
    path = tmp_path / "train-00000.npy"
    writer = ShardWriter(path, SHAPE, "float16")
    append(writer, 4)
    killed(writer)
    with open(tmp_path / ".train-00000.npy.part", "r+b") as part:
        part.truncate(length)
    writer = ShardWriter(path, SHAPE, "float16")
    assert writer.done == 0
    append(writer, 7)
    writer.finish()
    assert np.array_equal(np.load(path), ROWS)


def test_a_part_of_another_shape_or_type_is_begun_anew(tmp_path):
    path = tmp_path / "train-00000.npy"
    writer = ShardWriter(path, SHAPE, "float16")
    append(writer, 4)
    killed(writer)
    writer = ShardWriter(path, SHAPE, "float32")
    assert writer.done == 0
    writer.append(ROWS.astype(np.float32), DIGESTS)
    writer.finish()
    assert np.load(path).dtype == np.float32


def test_two_writers_of_one_shard_do_not_meet(tmp_path):
    path = tmp_path / "train-00000.npy"
    writer = ShardWriter(path, SHAPE, "float16")
    with pytest.raises(DataError, match="another process is writing it"):
        ShardWriter(path, SHAPE, "float16")
    killed(writer)
    ShardWriter(path, SHAPE, "float16").close()


def test_wrong_rows_and_an_early_end_are_refused(tmp_path):
    writer = ShardWriter(tmp_path / "train-00000.npy", SHAPE, "float16")
    for wrong in (ROWS.astype(np.float32), ROWS[:, :2]):
        with pytest.raises(ValueError, match="must be float16 rows"):
            writer.append(wrong, DIGESTS)
    with pytest.raises(ValueError, match="0 of 7 rows"):
        writer.finish()
