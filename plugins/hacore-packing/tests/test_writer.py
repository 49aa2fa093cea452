"""Packed images: written in any order, gone on with after a crash, never mixed with others."""

from itertools import pairwise

import numpy as np
import pytest
from hacore_packing.writer import PackWriter
from hypothesis import given
from hypothesis import strategies as st

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, 2, 4), np.uint8)


@given(cuts=st.lists(st.integers(0, 9), max_size=4), order=st.randoms(), reopen=st.booleans())
def test_rows_may_be_written_in_any_order(tmp_path_factory, cuts, order, reopen):
    folder = tmp_path_factory.mktemp("writer")
    edges = sorted({0, 9, *cuts})
    pieces = list(pairwise(edges))
    order.shuffle(pieces)
    pack = PackWriter(folder, "train", 9, (2, 4))
    left = set(range(9))
    for start, stop in pieces:
        assert {row for a, b in pack.missing(3) for row in range(a, b)} == left
        assert all(b - a <= 3 for a, b in pack.missing(3))
        pack.write(start, IMAGES[start:stop])
        left -= set(range(start, stop))
        if reopen:
            pack = PackWriter(folder, "train", 9, (2, 4))
    finished = pack.finish()
    np.testing.assert_array_equal(np.load(folder / "train.images.npy"), IMAGES)
    wide = IMAGES.astype(np.int64)
    assert finished.count == 9
    assert finished.total == tuple(wide.sum((0, 2, 3)))
    assert finished.squares == tuple((wide**2).sum((0, 2, 3)))


def test_writer_refuses_what_is_wrong(tmp_path):
    pack = PackWriter(tmp_path, "train", 9, (2, 4))
    pack.write(0, IMAGES[:3])
    for start, rows in ((0, IMAGES[:1]), (2, IMAGES[:2]), (8, IMAGES[:2])):
        with pytest.raises(ValueError, match="are not all missing"):
            pack.write(start, rows)
    with pytest.raises(ValueError, match=r"must be uint8 \(n, 3, 2, 4\)"):
        pack.write(3, IMAGES.astype(np.int64))
    with pytest.raises(ValueError, match=r"must be uint8 \(n, 3, 2, 4\)"):
        pack.write(3, IMAGES[:, :, :1])
    with pytest.raises(ValueError, match="rows from 3 were not written"):
        pack.finish()


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_journal_cut_by_a_crash(tmp_path, cut):
    pack = PackWriter(tmp_path, "train", 9, (2, 4))
    for start in (0, 3):
        pack.write(start, IMAGES[start : start + 3])
    journal = tmp_path / "train.rows.jsonl"
    journal.write_bytes(journal.read_bytes()[: -cut or None])
    pack = PackWriter(tmp_path, "train", 9, (2, 4))
    assert pack.done == (6 if cut == 0 else 3)
    for start, stop in pack.missing(3):
        pack.write(start, IMAGES[start:stop])
    pack.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "train.images.npy"), IMAGES)


def test_rows_of_other_data_are_not_taken_over(tmp_path):
    PackWriter(tmp_path, "train", 9, (2, 4), lambda start, stop: "old").write(0, IMAGES[:4])
    assert PackWriter(tmp_path, "train", 9, (2, 4), lambda start, stop: "new").done == 0
    assert PackWriter(tmp_path, "train", 9, (2, 4), lambda start, stop: "old").done == 4
    assert PackWriter(tmp_path, "train", 9, (4, 2), lambda start, stop: "old").done == 0


def test_measured_rows_are_summed_apart(tmp_path):
    pack = PackWriter(tmp_path, "all", 9, (2, 4), measured=5)
    assert pack.missing(3) == [(0, 3), (3, 5), (5, 8), (8, 9)]
    with pytest.raises(ValueError, match="are not all missing"):
        pack.write(4, IMAGES[4:6])
    for start, stop in reversed(pack.missing(3)):
        pack.write(start, IMAGES[start:stop])
        pack = PackWriter(tmp_path, "all", 9, (2, 4), measured=5)
    assert pack.missing() == []
    finished = pack.finish()
    wide = IMAGES[:5].astype(np.int64)
    assert (finished.count, finished.measured) == (9, 5)
    assert finished.total == tuple(wide.sum((0, 2, 3)))
    assert finished.squares == tuple((wide**2).sum((0, 2, 3)))
    assert PackWriter(tmp_path, "all", 9, (2, 4), measured=4).missing(9) == [(3, 4), (4, 5)]
