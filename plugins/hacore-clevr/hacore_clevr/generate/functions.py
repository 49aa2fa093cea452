"""What the functions of templates take and give: those of programs, and the composites.

A composite is a filter by any of the attributes, perhaps after a relation, perhaps followed by ``unique``,
``count`` or ``exist``; ``hacore_clevr.programs.unfold`` writes it out.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hacore_clevr.domain import ATTRIBUTES
from hacore_clevr.programs import FUNCTIONS, NUMBER, OBJECT, OBJECTS, TRUTH

RELATION = "relation"
ENDINGS = {"": OBJECTS, "_unique": OBJECT, "_count": NUMBER, "_exist": TRUTH}
"""What a composite gives, by what follows its filters."""

ANSWERS = (NUMBER, TRUTH, *ATTRIBUTES)
"""Outputs that answer a question."""


@attrs.frozen
class Signature:
    """inputs: what each must be. values: each an attribute or "relation". output: what comes out."""

    inputs: tuple[str, ...]
    values: tuple[str, ...]
    output: str


def _signatures() -> dict[str, Signature]:
    table = {}
    for name, function in FUNCTIONS.items():
        values = (RELATION,) if name == "relate" else (name.removeprefix("filter_"),)
        table[name] = Signature(function.inputs, values if function.values else (), function.output)
    for ending, output in ENDINGS.items():
        table[f"filter{ending}"] = Signature((OBJECTS,), tuple(ATTRIBUTES), output)
        table[f"relate_filter{ending}"] = Signature((OBJECT,), (RELATION, *ATTRIBUTES), output)
    return table


SIGNATURES: Mapping[str, Signature] = _signatures()
