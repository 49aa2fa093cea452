"""Packed images: the sums of their pixels, whatever the order, and resumed after a crash."""

from itertools import pairwise

import numpy as np
import pytest
from hacore_packing.writer import PackWriter
from hypothesis import given, settings
from hypothesis import strategies as st

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, 2, 4), np.uint8)


@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(0, 9), max_size=4),
    order=st.randoms(),
    reopen=st.booleans(),
    measured=st.integers(1, 9),
)
def test_sums_are_those_of_the_measured_images(tmp_path_factory, cuts, order, reopen, measured):
    folder = tmp_path_factory.mktemp("writer")
    pieces = list(pairwise(sorted({0, 9, *cuts})))
    order.shuffle(pieces)
    pack = PackWriter(folder, "train", 9, (2, 4), measured=measured)
    for start, stop in pieces:
        pack.write(start, IMAGES[start:stop])
        if reopen:
            pack = PackWriter(folder, "train", 9, (2, 4), measured=measured)
    assert (pack.done, pack.missing()) == (9, [])
    finished = pack.finish()
    np.testing.assert_array_equal(np.load(folder / "train.images.npy"), IMAGES)
    wide = IMAGES[:measured].astype(np.int64)
    assert (finished.count, finished.measured) == (9, measured)
    assert finished.total == tuple(wide.sum((0, 2, 3)))
    assert finished.squares == tuple((wide**2).sum((0, 2, 3)))


def test_writer_refuses_what_is_wrong(tmp_path):
    pack = PackWriter(tmp_path, "train", 9, (2, 4))
    pack.write(0, IMAGES[:3])
    with pytest.raises(ValueError, match="are not all missing"):
        pack.write(2, IMAGES[:2])
    for wrong in (IMAGES.astype(np.int64), IMAGES[:, :2]):
        with pytest.raises(ValueError, match=r"must be uint8 \(n, 3, 2, 4\)"):
            pack.write(3, wrong)
    with pytest.raises(ValueError, match="rows from 3 were not written"):
        pack.finish()


def test_rows_of_other_data_are_not_taken_over(tmp_path):
    PackWriter(tmp_path, "train", 9, (2, 4), lambda start, stop: "old").write(0, IMAGES[:4])
    assert PackWriter(tmp_path, "train", 9, (2, 4), lambda start, stop: "new").done == 0
    assert PackWriter(tmp_path, "train", 9, (2, 4), lambda start, stop: "old").done == 4
    assert PackWriter(tmp_path, "train", 9, (4, 2), lambda start, stop: "old").done == 0


def test_rows_are_written_again_when_other_ones_are_measured(tmp_path):
    pack = PackWriter(tmp_path, "all", 9, (2, 4), measured=5)
    for start, stop in pack.missing(3):
        pack.write(start, IMAGES[start:stop])
    assert PackWriter(tmp_path, "all", 9, (2, 4), measured=4).missing(9) == [(3, 6)]
