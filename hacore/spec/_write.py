"""A resolved spec as TOML that reads back equal."""

from __future__ import annotations

from typing import Any

import attrs
import toml

from hacore.spec._schema import SECTIONS, Spec
from hacore.spec._structure import inline, unstructure_config


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
    encoder = toml.TomlEncoder()
    # Its own strings lose some backslash sequences, and it prints some floats as integers.
    encoder.dump_funcs.update({str: inline, float: inline})
    text: str = toml.dumps(spec_table(spec), encoder=encoder)
    return text
