"""Ids are whole numbers of any size; what might be another number than was meant is not taken."""

import numpy as np
import pytest
from hacore_packing.ids import id_column, whole_number


@pytest.mark.parametrize("value", [0, -5, 7, 2**63, 2**64, 10**30, -(10**30)])
def test_integers_of_any_size(value):
    assert whole_number(value) == value
    assert id_column([1, value]).tolist() == [1, value]
    assert type(id_column([1, value]).tolist()[1]) is int


def test_floats_without_a_fraction():
    assert (whole_number(12.0), whole_number(-1.0), whole_number(0.0)) == (12, -1, 0)
    assert whole_number(2.0**53 - 1) == 2**53 - 1


@pytest.mark.parametrize(
    "value", [1.5, 2.0**53, 1e30, float("nan"), float("inf"), "12", "", True, False, None, [], {}]
)
def test_anything_else_is_none(value):
    assert whole_number(value) is None


def test_columns_are_int64_where_that_fits():
    assert id_column([]).dtype == id_column([-(2**63), 2**63 - 1]).dtype == np.int64
    assert id_column([2**63]).dtype == object
