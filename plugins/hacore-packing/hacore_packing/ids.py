"""Ids of questions and images: whole numbers of any size. Imports no torch.

They are told apart and written back, never computed with, so nothing need be cut to 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

ALLOWED = "a whole number"
_EXACT = 2.0**53  # above it two whole numbers are the same float


def whole_number(value: Any) -> int | None:
    """The id that a JSON value stands for: an integer, or a float without a fraction, as pandas writes them.

    None for anything else, and for floats from 2^53, which may have been rounded.
    """
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return None


def id_column(ids: Sequence[int]) -> npt.NDArray[Any]:
    """(Q,) int64; Python's integers, dtype object, where one does not fit."""
    import numpy as np  # not for those who only compare ids

    try:
        return np.array(ids, np.int64)
    except OverflowError:
        return np.array(ids, object)
