"""A resolved spec as TOML that reads back equal."""

from __future__ import annotations

import json
from typing import Any

import attrs
import toml

from hacore.spec._schema import SECTIONS, Spec
from hacore.spec._structure import unstructure_config


class _Encoder(toml.TomlEncoder):  # type: ignore[misc]
    """The toml package's encoder with exact strings and floats.

    Its own string escaping loses some backslash sequences, and it prints some floats as integers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dump_funcs[str] = _string
        self.dump_funcs[float] = _float


def _string(value: str) -> str:
    # JSON's escapes are TOML's, except that TOML also wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _float(value: float) -> str:
    text = repr(value)
    return text if any(mark in text for mark in ".en") else text + ".0"


def spec_table(spec: Spec) -> dict[str, Any]:
    """The spec as plain tables, every option written out (those that are None cannot be)."""
    table: dict[str, Any] = {"name": spec.name, "seed": spec.seed}
    for field in attrs.fields(Spec):
        value = getattr(spec, field.name)
        if field.name in SECTIONS:
            table[field.name] = {"use": value.use, **unstructure_config(value.options)}
        elif attrs.has(type(value)) and (inner := unstructure_config(value)):
            table[field.name] = inner
    return table


def dump_spec(spec: Spec) -> str:
    """The spec as TOML text."""
    text: str = toml.dumps(spec_table(spec), encoder=_Encoder())
    return text
