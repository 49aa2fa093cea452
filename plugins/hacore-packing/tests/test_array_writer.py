"""Arrays written in ranges of rows: in any order, resumed after a kill, never mixed with others."""

import hashlib
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hacore_packing.arrays import ArrayWriter
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = np.random.default_rng(0).normal(size=(9, 2, 4)).astype(np.float32)


def writer(folder, shape=ROWS.shape, dtype="float32", stamp=lambda start, stop: ""):
    return ArrayWriter(folder / "rows.npy", folder / "rows.jsonl", shape, dtype, stamp)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), order=st.randoms(), reopen=st.booleans())
def test_rows_may_be_written_in_any_order(tmp_path_factory, cuts, order, reopen):
    folder = tmp_path_factory.mktemp("array")
    pieces = list(pairwise(sorted({0, 9, *cuts})))
    shuffled = order.sample(pieces, len(pieces))
    array = writer(folder)
    left = set(range(9))
    for start, stop in shuffled:
        assert {row for first, last in array.missing(3) for row in range(first, last)} == left
        assert all(last - first <= 3 for first, last in array.missing(3))
        array.write(start, ROWS[start:stop], f"{start} to {stop}")
        left -= set(range(start, stop))
        assert array.done == 9 - len(left)
        if reopen:
            array = writer(folder)
    written = array.finish()
    np.testing.assert_array_equal(np.load(folder / "rows.npy"), ROWS)
    assert array.extras == [f"{start} to {stop}" for start, stop in pieces]
    content = (folder / "rows.npy").read_bytes()
    assert (written.bytes, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_wrong_rows_and_an_early_end_are_refused(tmp_path):
    array = writer(tmp_path)
    array.write(0, ROWS[:3])
    for start, rows in ((0, ROWS[:1]), (2, ROWS[:2]), (8, ROWS[:2])):
        with pytest.raises(ValueError, match="are not all missing from"):
            array.write(start, rows)
    for wrong in (ROWS[3:].astype(np.float64), ROWS[3:, :1]):
        with pytest.raises(ValueError, match=r"must be float32 \(n, 2, 4\)"):
            array.write(3, wrong)
    with pytest.raises(ValueError, match="rows from 3 were not written"):
        array.finish()


@pytest.mark.parametrize("cut", range(0, 50, 7))
def test_a_journal_that_was_cut(tmp_path, cut):
    array = writer(tmp_path)
    for start in (0, 3):
        array.write(start, ROWS[start : start + 3])
    journal = tmp_path / "rows.jsonl"
    journal.write_bytes(journal.read_bytes()[: -cut or None])
    array = writer(tmp_path)
    assert array.done == (6 if cut == 0 else 3)
    for start, stop in array.missing(3):
        array.write(start, ROWS[start:stop])
    array.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), ROWS)


@pytest.mark.parametrize("length", [0, 60, 128, 150, 10_000])
def test_a_file_of_another_length_is_started_anew(tmp_path, length):
    writer(tmp_path).write(0, ROWS[:4])
    with open(tmp_path / "rows.npy", "r+b") as file:
        file.truncate(length)
    assert writer(tmp_path).done == 0


def test_rows_of_other_data_are_not_taken_over(tmp_path):
    writer(tmp_path, stamp=lambda start, stop: "old").write(0, ROWS[:4])
    assert writer(tmp_path, stamp=lambda start, stop: "new").done == 0
    assert writer(tmp_path, stamp=lambda start, stop: "old").done == 4
    assert writer(tmp_path, (9, 4, 2), stamp=lambda start, stop: "old").done == 0
    writer(tmp_path, stamp=lambda start, stop: "old").write(0, ROWS[:4])
    assert writer(tmp_path, dtype="int32", stamp=lambda start, stop: "old").done == 0


def test_killed_while_it_writes(tmp_path):
    """The process ends at once; what the journal names is in the file, and the rest is written again."""
    code = (
        "import sys, pathlib, numpy as np\n"
        "from hacore_packing.arrays import ArrayWriter\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "array = ArrayWriter(here / 'rows.npy', here / 'rows.jsonl', (2000, 64), 'int32')\n"
        "for start, stop in array.missing(1):\n"
        "    array.write(start, np.full((1, 64), start + 1, np.int32))\n"
        "    print(start, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    for _ in range(20):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    array = ArrayWriter(tmp_path / "rows.npy", tmp_path / "rows.jsonl", (2000, 64), "int32")
    assert 20 <= array.done < 2000
    values = np.load(tmp_path / "rows.npy")
    np.testing.assert_array_equal(values[: array.done], np.arange(1, array.done + 1)[:, None].repeat(64, 1))
    for start, stop in array.missing(500):
        array.write(start, np.arange(start + 1, stop + 1, dtype=np.int32)[:, None].repeat(64, 1))
    array.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy")[:, 0], np.arange(1, 2001))


def test_a_full_disk_is_noticed_at_once_and_leaves_no_file(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
