"""Question families by their number: what the program of a question ends with that comes without one.

CLEVR v1.0 numbers its families from 0 to 89, file after file of templates. The package's own templates have
these numbers and end with the same functions, so they are the table. Imports no torch, no NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from hacore_clevr.domain import QUESTION_TYPES
from hacore_clevr.generate.templates import load_templates


def last_function(family: int) -> str:
    """The function, one of ``QUESTION_TYPES``, with which programs of a family end; "" for other numbers."""
    return _functions().get(family, "")


def family_number(file: str, index: int) -> int:
    """The family of a template by its place in its file, as the public generator tells it.

    Of other files, and places that a file does not have, the place itself.
    """
    return _numbers().get((file, index), index)


@cache
def _functions() -> Mapping[int, str]:
    functions = {}
    for template in load_templates():
        name = template.nodes[-1].function
        # Of a composite, such as relate_filter_count, the last part.
        functions[template.family] = name if name in QUESTION_TYPES else name.rpartition("_")[2]
    return functions


@cache
def _numbers() -> Mapping[tuple[str, int], int]:
    first: dict[str, int] = {}
    return {
        (template.file, template.family - first.setdefault(template.file, template.family)): template.family
        for template in load_templates()
    }
