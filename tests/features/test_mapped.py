"""Shards read as one array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.features.mapped import MappedFeatures

COUNT, ROWS = 11, 4
WANTED = np.random.default_rng(0).normal(size=(COUNT, 6, 5))


@pytest.fixture(scope="module", params=["float16", "float32"])
def pair(request, tmp_path_factory):
    """The features from files, and as an array."""
    folder = tmp_path_factory.mktemp("shards")
    wanted = WANTED.astype(request.param)
    paths = []
    for number, first in enumerate(range(0, COUNT, ROWS)):
        paths.append(folder / f"{number}.npy")
        np.save(paths[-1], wanted[first : first + ROWS])
    return MappedFeatures(paths, ROWS, wanted.shape, request.param), wanted


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.integers(0, COUNT - 1), max_size=30))
def test_rows_in_any_order(pair, rows):
    mapped, wanted = pair
    rows = np.array(rows, np.int64)
    assert mapped[rows].dtype == wanted.dtype
    assert np.array_equal(mapped[rows], wanted[rows])


@pytest.mark.parametrize("part", [slice(None), slice(3, 9), slice(5, 5), slice(8, 100), slice(-3, None)])
def test_slices(pair, part):
    mapped, wanted = pair
    assert np.array_equal(mapped[part], wanted[part])


def test_it_says_what_it_is(pair):
    mapped, wanted = pair
    assert (len(mapped), mapped.shape, mapped.dtype, mapped.nbytes) == (
        COUNT,
        wanted.shape,
        wanted.dtype,
        wanted.nbytes,
    )


@pytest.mark.parametrize("row", [-1, COUNT])
def test_rows_that_are_not_there(pair, row):
    with pytest.raises(IndexError, match="of 11"):
        pair[0][np.array([3, row])]


def test_what_comes_out_is_a_copy(pair):
    mapped, wanted = pair
    mapped[np.array([2])][:] = 0
    assert np.array_equal(mapped[np.array([2])], wanted[2:3])


def test_reading_ahead_changes_nothing(pair):
    mapped, wanted = pair
    for ranges in ([(0, 3), (3, 6)], [(3, 6), (6, 99)], []):
        mapped.will_need(ranges)
    assert np.array_equal(mapped[:], wanted)
