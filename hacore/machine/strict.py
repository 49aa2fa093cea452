"""A cattrs converter without silent conversions: "3" is not 3, and 1 is not true."""

from __future__ import annotations

import contextlib
import reprlib
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Literal

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

_LARGEST = int(sys.float_info.max)


def strict_converter(*, forbid_extra_keys: bool = False) -> cattrs.Converter:
    """A converter for int, float, bool, str, literals, unions, tuples and what is made of them.

    A value that does not fit is a TypeError, inside cattrs' own errors where it is an item of another.
    """
    converter = cattrs.Converter(forbid_extra_keys=forbid_extra_keys)

    def structure_tuple(value: Any, wanted: Any) -> Any:
        # cattrs takes anything iterable, even the letters of a string.
        items = typing.get_args(wanted)
        if isinstance(value, (list, tuple)) and items[-1] is Ellipsis:
            items = items[:1] * len(value)
        if not isinstance(value, (list, tuple)) or len(items) != len(value):
            raise TypeError(f"found {reprlib.repr(value)}")
        return tuple(converter.structure(item, its) for item, its in zip(value, items, strict=True))

    def structure_list(value: Any, wanted: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"found {reprlib.repr(value)}, a list expected")
        (item_type,) = typing.get_args(wanted)
        return [converter.structure(item, item_type) for item in value]

    def structure_union(value: Any, wanted: Any) -> Any:
        *others, last = [choice for choice in typing.get_args(wanted) if choice is not types.NoneType]
        if value is None and types.NoneType in typing.get_args(wanted):
            return None
        for choice in others:
            with contextlib.suppress(TypeError, cattrs.BaseValidationError):
                return converter.structure(value, choice)
        return converter.structure(value, last)

    for plain in (int, float, bool, str, types.NoneType):
        converter.register_structure_hook(plain, _structure_plain)
    # Before cattrs looks whether a class is a mapping, as records are.
    converter.register_structure_hook_factory(
        attrs.has,
        lambda cls: make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=forbid_extra_keys),
    )
    converter.register_structure_hook_func(_made_of(Literal), _structure_literal)
    converter.register_structure_hook_func(is_union, structure_union)
    converter.register_structure_hook_func(_made_of(tuple), structure_tuple)
    converter.register_structure_hook_func(_made_of(list), structure_list)
    converter.register_unstructure_hook_func(_made_of(tuple), list)
    return converter


def is_union(wanted: Any) -> bool:
    """Whether a type is a choice of several, as ``int | None``."""
    return typing.get_origin(wanted) in (types.UnionType, typing.Union)


def _made_of(kind: Any) -> Callable[[Any], bool]:
    """Whether a type is of this kind, as ``tuple[int, ...]`` is of tuple."""
    return lambda wanted: typing.get_origin(wanted) is kind


def _structure_plain(value: Any, wanted: type) -> Any:
    # bool is an int to Python; an integer for a float is the one conversion that loses nothing.
    if wanted is float and type(value) is int and -_LARGEST <= value <= _LARGEST:
        return float(value)
    if type(value) is not wanted:
        raise TypeError(f"found {reprlib.repr(value)}, {wanted.__name__} expected")
    return value


def _structure_literal(value: Any, wanted: Any) -> Any:
    # 1 == True in Python, so the type is compared too.
    for choice in typing.get_args(wanted):
        if type(choice) is type(value) and choice == value:
            return choice
    raise TypeError(f"found {reprlib.repr(value)}")
