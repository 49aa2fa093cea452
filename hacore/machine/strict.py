"""Plain tables to attrs classes without silent conversions: "3" is not 3, and 1 is not true."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

import cattrs


def strict_converter(*, forbid_extra_keys: bool, detailed_validation: bool) -> cattrs.Converter:
    """A converter for int, float, bool, str, literals, unions, tuples and what is made of them.

    Its errors are TypeErrors, or cattrs' own with ``detailed_validation``.
    """
    converter = cattrs.Converter(forbid_extra_keys=forbid_extra_keys, detailed_validation=detailed_validation)

    def structure_union(value: Any, wanted: Any) -> Any:
        for choice in typing.get_args(wanted):
            if choice is types.NoneType:
                if value is None:
                    return None
                continue
            try:
                return converter.structure(value, choice)
            except (TypeError, cattrs.BaseValidationError):
                continue
        raise TypeError(f"found {value!r}")

    def structure_tuple(value: Any, wanted: Any) -> Any:
        arguments = typing.get_args(wanted)
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        if not isinstance(value, (list, tuple)) or not (many or len(arguments) == len(value)):
            raise TypeError(f"found {value!r}")
        items = [arguments[0]] * len(value) if many else arguments
        return tuple(converter.structure(item, its) for item, its in zip(value, items, strict=True))

    for plain in (int, float, bool, str):
        converter.register_structure_hook(plain, _structure_plain)
    converter.register_structure_hook_func(_is_literal, _structure_literal)
    converter.register_structure_hook_func(is_union, structure_union)
    converter.register_structure_hook_func(_is_tuple, structure_tuple)
    converter.register_unstructure_hook_func(_is_tuple, list)
    return converter


def is_union(wanted: Any) -> bool:
    """Whether a type is a choice of several, as ``int | None``."""
    return typing.get_origin(wanted) in (types.UnionType, typing.Union)


def _is_literal(wanted: Any) -> bool:
    return typing.get_origin(wanted) is Literal


def _is_tuple(wanted: Any) -> bool:
    return typing.get_origin(wanted) is tuple


def _structure_plain(value: Any, wanted: type) -> Any:
    # bool is an int to Python; an integer for a float is the one conversion that loses nothing.
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise TypeError(f"found {value!r}, {wanted.__name__} expected")
    return value


def _structure_literal(value: Any, wanted: Any) -> Any:
    # 1 == True in Python, so the type is compared too.
    for choice in typing.get_args(wanted):
        if type(choice) is type(value) and choice == value:
            return choice
    raise TypeError(f"found {value!r}")
