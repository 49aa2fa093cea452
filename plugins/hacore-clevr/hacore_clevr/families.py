"""Question families by their number: what the programs of a family end with.

CLEVR v1.0 numbers its families from 0 to 89, file after file of templates. Data that give the number and no
program have their question types from here. Imports no torch, no NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping

from hacore_clevr.domain import ATTRIBUTES

_QUERIES = tuple(f"query_{attribute}" for attribute in ATTRIBUTES)
_SIZE, _COLOR, _MATERIAL, _SHAPE = _QUERIES
_EQUAL = tuple(f"equal_{attribute}" for attribute in ATTRIBUTES)

ENDS: Mapping[str, tuple[str, ...]] = {
    "compare_integer": ("equal_integer", "less_than", "greater_than") * 3,
    "comparison": (*_EQUAL, *(function for function in _EQUAL for _ in range(3))),
    "three_hop": ("count", "exist", _SIZE, _SHAPE, _COLOR, _MATERIAL),
    "single_and": ("count", *_QUERIES),
    "same_relate": (
        *(("exist",) * 4 + ("count",) * 4) * 2,
        *(
            _COLOR,
            _MATERIAL,
            _SHAPE,
            _SIZE,
            _MATERIAL,
            _SHAPE,
            _SIZE,
            _COLOR,
            _SHAPE,
            _SIZE,
            _COLOR,
            _MATERIAL,
        ),
    ),
    "single_or": ("count",) * 8,
    "one_hop": ("count", "exist", *_QUERIES),
    "two_hop": ("count", "exist", *_QUERIES),
    "zero_hop": ("count", "exist", _SHAPE, _MATERIAL, _COLOR, _SIZE),
}
"""By template file, in the order of the families' numbers, the last function of each of its families."""

_FUNCTIONS = [function for functions in ENDS.values() for function in functions]
_PLACES = [(f"{file}.json", index) for file, functions in ENDS.items() for index in range(len(functions))]
_NUMBERS = {place: number for number, place in enumerate(_PLACES)}


def last_function(family: int) -> str:
    """The last function of a family's programs, one of ``QUESTION_TYPES``; "" if there is no such family."""
    return _FUNCTIONS[family] if 0 <= family < len(_FUNCTIONS) else ""


def family_number(file: str, index: int) -> int:
    """The family of a template by its place in its file, as the public generator tells it.

    Of other files, and places that a file does not have, the place itself.
    """
    return _NUMBERS.get((file, index), index)
