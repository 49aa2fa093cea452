"""Word vectors that are damaged."""

import warnings

import pytest
from hacore_vqa.vectors import read_vectors

from hacore.errors import DataError


@pytest.mark.parametrize("number", ["1e308", "nan", "-inf", "x", "", "1" + "0" * 400])
def test_a_number_that_is_none_is_named_by_its_line_and_warns_nobody(tmp_path, names, number):
    path = tmp_path / "vectors.txt"
    path.write_text(f"red 0.1 0.2\nblue 0.1 {number}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as error:
            read_vectors(path, ["red", "blue"])
    names(str(error.value), f"{path}:2:", "2 finite numbers")
