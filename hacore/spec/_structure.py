"""Tables to attrs classes and back, strictly: no silent conversion, every problem reported."""

from __future__ import annotations

import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import cattrs

from hacore.errors import HacoreError, Problem, SpecError, did_you_mean
from hacore.machine.strict import is_union, strict_converter

Overrides = str | Sequence[str] | Mapping[str, Any]
"""``"selector.k=8"``, several such texts, or ``{"selector.k": 8}``; see ``override_words``."""

_converter = strict_converter(forbid_extra_keys=True)
_WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("a string", "strings"),
}


def describe_type(wanted: Any) -> str:
    """A field's type in a user's words: ``an integer``, ``a list of numbers``, ``'a' or 'b'``."""
    if wanted in _WORDS:
        return _WORDS[wanted][0]
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) is Literal:
        return " or ".join(f"'{choice}'" if isinstance(choice, str) else str(choice) for choice in arguments)
    if is_union(wanted):
        return " or ".join(describe_type(choice) for choice in arguments if choice is not types.NoneType)
    if typing.get_origin(wanted) is tuple:
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        _, items = _WORDS.get(arguments[0], ("", f"items, each {describe_type(arguments[0])}"))
        return f"a list of {count}{items}"
    return getattr(wanted, "__name__", str(wanted))


def structure_table(cls: type[Any], table: dict[str, Any], path: str, problems: list[Problem]) -> Any:
    """An instance of the attrs class ``cls``, or None after adding to ``problems``.

    path: dotted place of the table in the spec, or "" for the top.
    """
    before = len(problems)
    fields: dict[str, Any] = attrs.fields_dict(attrs.resolve_types(cls))
    values: dict[str, Any] = {}
    # Field by field: a class stops at the first value out of range, and does not say which it was.
    for key, value in table.items():
        place = f"{path}.{key}" if path else key
        field = fields.get(key)
        if field is None:
            allowed = ", ".join(fields) or "none"
            unknown = f"unknown key{did_you_mean(key, fields)}; allowed here: {allowed}"
            problems.append(Problem(place, unknown))
            continue
        try:
            values[key] = _converter.structure(value, field.type)
            if field.validator is not None:
                field.validator(None, field, values[key])
        except ValueError as error:
            problems.append(Problem(place, str(error)))
        except (TypeError, cattrs.BaseValidationError):
            what = f"found {shown(value)}; must be {describe_type(field.type)}"
            problems.append(Problem(place, what + _as_in(field, value)))
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except ValueError as error:
        problems.append(Problem(path or "spec", str(error)))
        return None


def _as_in(field: attrs.Attribute[Any], value: Any) -> str:
    """``, as in size = [32, 32]`` where that is what the user seems to mean."""
    wanted: Any = field.type
    if isinstance(value, (list, dict)) or typing.get_origin(wanted) is not tuple:
        return ""
    try:
        _converter.structure(listed(value), wanted)
    except (TypeError, cattrs.BaseValidationError):
        return ""
    return f", as in {field.name} = {shown(listed(value))}"


def listed(value: Any) -> list[Any]:
    """The list that was probably meant: of ``4`` [4], of ``4,5``, ``4 5`` and ``[4,5`` [4, 5]."""
    if not isinstance(value, str):
        return [value]
    text = value.strip("[](){} ,;")
    parts = re.split(r"\s*[,;]\s*", text)
    numbers = [toml_value(word) for word in text.split()]
    if len(parts) == 1 and not any(isinstance(number, str) for number in numbers):
        return numbers
    return [toml_value(part.strip("\"'")) for part in parts if part]


def toml_value(text: str) -> Any:
    """A value of TOML; what is none is a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def shown(value: Any) -> str:
    """A value as TOML shows it, cut when long."""
    text = "a table" if isinstance(value, dict) else inline(value)
    return text if len(text) <= 60 else text[:57] + "..."


def inline(value: Any) -> str:
    """A value as TOML on one line, that reads back equal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML also wants DEL escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return f"{{{', '.join(pairs(value))}}}"
    return f"[{', '.join(map(inline, value))}]" if isinstance(value, (list, tuple)) else str(value)


def pairs(table: dict[str, Any]) -> list[str]:
    """``key = value`` for each key of a table, as TOML."""
    names = [key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else inline(key) for key in table]
    return [f"{name} = {inline(value)}" for name, value in zip(names, table.values(), strict=True)]


def override_words(overrides: Overrides, above: str = "") -> list[str]:
    """``key=value`` of each override.

    A table within a table changes the keys that it has; one with ``use`` takes the other's place, and None
    removes a key. Raises HacoreError for what is no override.
    """
    if isinstance(overrides, str):
        return [overrides]
    if not isinstance(overrides, Mapping):
        if wrong := [words for words in overrides if not isinstance(words, str)]:
            raise HacoreError(f"overrides: found {wrong[0]!r}; give key=value, as in 'selector.k=8'")
        return [*overrides]
    words = []
    for key, value in overrides.items():
        if isinstance(value, Mapping) and "use" not in value:
            words += override_words(value, f"{above}{key}.")
        else:
            words.append(f"{above}{key}={'none' if value is None else inline(value)}")
    return words


def flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """{dotted key: value} of what is not a table, or an empty one."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        inner = isinstance(value, dict) and value
        values |= flat(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return values


def structure_config(cls: type[Any], table: dict[str, Any], path: str = "") -> Any:
    """An instance of a config class from a TOML table. Raises SpecError with every problem."""
    problems: list[Problem] = []
    config = structure_table(cls, table, path, problems)
    if problems:
        raise SpecError(problems)
    return config


def unstructure_config(config: Any) -> dict[str, Any]:
    """A config as a table that TOML can hold: tuples are lists, fields that are None are left out."""
    table: dict[str, Any] = _converter.unstructure(config)
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in table.items()
        if value is not None
    }
