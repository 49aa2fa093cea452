"""Executes CLEVR's programs on its scenes.

A program is a list of nodes, each with ``function`` (released files) or ``type`` (public generator),
``inputs`` (places of earlier nodes) and ``value_inputs`` or ``side_inputs``. The last node gives the
answer. A set of objects is an integer with one bit an object, so that set operations are single steps.

Source: Johnson et al. 2017, arXiv 1612.06890, and the files of CLEVR v1.0. Imports no torch, no NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from hacore_clevr.domain import ATTRIBUTES, RELATIONS

OBJECTS, OBJECT, NUMBER, TRUTH = "a set of objects", "an object", "a number", "a truth value"


class ProgramError(ValueError):
    """A program that is not valid, or not on this scene. node: place of the node, None for no node at all."""

    def __init__(self, node: int | None, function: str, reason: str) -> None:
        where = "" if node is None else f"node {node} ({function}): "
        super().__init__(where + reason)
        self.node = node
        self.reason = reason


@attrs.frozen(kw_only=True)
class World:
    """A scene compiled to bit sets.

    objects: how many. everything: all of them as a set. with_value: by attribute and value, the set of
    objects that have it. related: by relation, for each object the set in that relation to it. values: by
    attribute, each object's value.
    """

    objects: int
    everything: int
    with_value: Mapping[str, Mapping[str, int]]
    related: Mapping[str, Sequence[int]]
    values: Mapping[str, Sequence[str]]

    @classmethod
    def from_scene(cls, scene: Mapping[str, Any]) -> World:
        """From an official scene. ValueError names the object or the relation that is wrong."""
        objects = scene["objects"]
        values: dict[str, list[str]] = {attribute: [] for attribute in ATTRIBUTES}
        for number, thing in enumerate(objects):
            for attribute, allowed in ATTRIBUTES.items():
                value = thing.get(attribute)
                if value not in allowed:
                    raise ValueError(
                        f"object {number}: {attribute} {value!r}; must be one of {', '.join(allowed)}"
                    )
                values[attribute].append(value)
        return cls(
            objects=len(objects),
            everything=(1 << len(objects)) - 1,
            with_value={
                attribute: {
                    value: _set(number for number, its in enumerate(values[attribute]) if its == value)
                    for value in allowed
                }
                for attribute, allowed in ATTRIBUTES.items()
            },
            related={name: _related(scene, name, len(objects)) for name in RELATIONS},
            values=values,
        )


def _set(members: Any) -> int:
    objects = 0
    for member in members:
        objects |= 1 << member
    return objects


def _related(scene: Mapping[str, Any], name: str, count: int) -> list[int]:
    rows = scene["relationships"].get(name)
    if not isinstance(rows, list) or len(rows) != count:
        raise ValueError(f"relationships.{name}: must be a list with an entry for each of {count} objects")
    for number, row in enumerate(rows):
        if any(type(member) is not int or not 0 <= member < count for member in row):
            raise ValueError(f"relationships.{name}[{number}]: {row} must name objects from 0 to {count - 1}")
    return [_set(row) for row in rows]


def members(objects: int) -> list[int]:
    """The objects of a set, in order."""
    return [number for number in range(objects.bit_length()) if objects >> number & 1]


@attrs.frozen
class Function:
    """What a function takes and gives.

    inputs: what each input must be. output: what comes out, an attribute's name for a value of it.
    values: for each value that it is given, the allowed ones. run: (world, inputs, values) -> output.
    """

    inputs: tuple[str, ...]
    output: str
    values: tuple[tuple[str, ...], ...]
    run: Callable[[World, Sequence[Any], Sequence[str]], Any]


def _functions() -> dict[str, Function]:
    table = {
        "scene": Function((), OBJECTS, (), lambda world, _, __: world.everything),
        "unique": Function((OBJECTS,), OBJECT, (), lambda _, inputs, __: _only(inputs[0])),
        "relate": Function(
            (OBJECT,), OBJECTS, (RELATIONS,), lambda world, inputs, value: world.related[value[0]][inputs[0]]
        ),
        "count": Function((OBJECTS,), NUMBER, (), lambda _, inputs, __: inputs[0].bit_count()),
        "exist": Function((OBJECTS,), TRUTH, (), lambda _, inputs, __: inputs[0] != 0),
        "union": Function((OBJECTS, OBJECTS), OBJECTS, (), lambda _, inputs, __: inputs[0] | inputs[1]),
        "intersect": Function((OBJECTS, OBJECTS), OBJECTS, (), lambda _, inputs, __: inputs[0] & inputs[1]),
        "equal_integer": Function((NUMBER, NUMBER), TRUTH, (), lambda _, inputs, __: inputs[0] == inputs[1]),
        "less_than": Function((NUMBER, NUMBER), TRUTH, (), lambda _, inputs, __: inputs[0] < inputs[1]),
        "greater_than": Function((NUMBER, NUMBER), TRUTH, (), lambda _, inputs, __: inputs[0] > inputs[1]),
    }
    for attribute, allowed in ATTRIBUTES.items():
        table |= _of_attribute(attribute, allowed)
    return table


def _of_attribute(name: str, allowed: tuple[str, ...]) -> dict[str, Function]:
    return {
        f"filter_{name}": Function(
            (OBJECTS,),
            OBJECTS,
            (allowed,),
            lambda world, inputs, value: inputs[0] & world.with_value[name][value[0]],
        ),
        f"query_{name}": Function(
            (OBJECT,), name, (), lambda world, inputs, _: world.values[name][inputs[0]]
        ),
        f"same_{name}": Function(
            (OBJECT,),
            OBJECTS,
            (),
            lambda world, inputs, _: (
                world.with_value[name][world.values[name][inputs[0]]] & ~(1 << inputs[0])
            ),
        ),
        f"equal_{name}": Function((name, name), TRUTH, (), lambda _, inputs, __: inputs[0] == inputs[1]),
    }


class _NotOne(Exception):
    """A set that should have had one member."""


def _only(objects: int) -> int:
    if objects.bit_count() != 1:
        raise _NotOne(objects.bit_count())
    return objects.bit_length() - 1


FUNCTIONS = _functions()
"""By name, except the composites of templates, which ``unfold`` writes out."""

_PARTS = {
    "filter": (),
    "filter_unique": ("unique",),
    "filter_count": ("count",),
    "filter_exist": ("exist",),
}


def function_of(node: Mapping[str, Any]) -> str:
    """The name of a node's function, in either format; "" when it has none."""
    name = node.get("function", node.get("type"))
    return name if isinstance(name, str) else ""


def values_of(node: Mapping[str, Any]) -> list[str]:
    """The values that a node is given, in either format."""
    return list(node.get("value_inputs") or node.get("side_inputs") or ())


def unfold(program: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same program without composites: one node for each relation, filter and what follows them.

    Composites take a relation first where their name begins so, then one value for each attribute by
    which they filter, in any order; an empty value filters by nothing.
    """
    plain: list[dict[str, Any]] = []
    at: list[int] = []  # where the output of each old node is now

    def add(function: str, inputs: list[int], values: list[str]) -> list[int]:
        plain.append({"function": function, "inputs": inputs, "value_inputs": values})
        return [len(plain) - 1]

    for place, node in enumerate(program):
        name, values = function_of(node), values_of(node)
        inputs = [
            at[source] if type(source) is int and 0 <= source < place else source
            for source in node.get("inputs", [])
        ]
        base = name.removeprefix("relate_") if name.startswith("relate_") else name
        if base not in _PARTS:
            at += add(name, inputs, values)
            continue
        if base != name:
            inputs = add("relate", inputs, values[:1])
            values = values[1:]
        for value in values:
            if value:
                inputs = add(f"filter_{_attribute(place, name, value)}", inputs, [value])
        for part in _PARTS[base]:
            inputs = add(part, inputs, [])
        at.append(inputs[0] if inputs else -1)
    return plain


def plain_program(program: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The program, its composites written out. ProgramError as for ``unfold``."""
    return unfold(program) if any(function_of(node) not in FUNCTIONS for node in program) else program


def _attribute(place: int, function: str, value: str) -> str:
    for attribute, allowed in ATTRIBUTES.items():
        if value in allowed:
            return attribute
    raise ProgramError(place, function, f"value {value!r} is not a value of any attribute")


def steps(program: Sequence[Mapping[str, Any]], world: World) -> list[Any]:
    """The output of every node: a set as an integer, an object's place, a number, a bool, or a value.

    Composites must be written out before (``unfold``). Raises ProgramError, which names the node.
    """
    if not program:
        raise ProgramError(None, "", "the program has no nodes")
    outputs: list[Any] = []
    kinds: list[str] = []
    for place, node in enumerate(program):
        name, values, inputs = function_of(node), values_of(node), node.get("inputs", [])
        function = FUNCTIONS.get(name)
        if function is None:
            raise ProgramError(place, name or "no function", f"unknown function {name!r}")
        _check(place, name, function, inputs, values, kinds)
        try:
            outputs.append(function.run(world, [outputs[source] for source in inputs], values))
        except _NotOne as error:
            raise ProgramError(place, name, f"its input has {error} objects, not one") from None
        kinds.append(function.output)
    return outputs


def _check(
    place: int, name: str, function: Function, inputs: Any, values: list[str], kinds: list[str]
) -> None:
    if not isinstance(inputs, list) or len(inputs) != len(function.inputs):
        count = len(inputs) if isinstance(inputs, list) else repr(inputs)
        raise ProgramError(place, name, f"has {count} inputs; it takes {len(function.inputs)}")
    for source, wanted in zip(inputs, function.inputs, strict=True):
        if type(source) is not int or not 0 <= source < place:
            raise ProgramError(place, name, f"input {source!r} is not an earlier node")
        if kinds[source] != wanted:
            raise ProgramError(
                place, name, f"input {source} is {_words(kinds[source])}; must be {_words(wanted)}"
            )
    if len(values) != len(function.values):
        raise ProgramError(place, name, f"has {len(values)} values; it takes {len(function.values)}")
    for value, allowed in zip(values, function.values, strict=True):
        if value not in allowed:
            raise ProgramError(place, name, f"value {value!r}; must be one of {', '.join(allowed)}")


def _words(kind: str) -> str:
    return f"a {kind}" if kind in ATTRIBUTES else kind


def execute(program: Sequence[Mapping[str, Any]], world: World) -> str:
    """The answer, as the released files write it. Composites may be among the nodes.

    Raises ProgramError, whose node is that of the program with composites written out.
    """
    plain = plain_program(program)
    answer = steps(plain, world)[-1]
    kind = FUNCTIONS[function_of(plain[-1])].output
    if kind in (OBJECTS, OBJECT):
        raise ProgramError(len(plain) - 1, function_of(plain[-1]), f"gives {kind}, which is not an answer")
    return normal_answer(answer)


def normal_answer(answer: Any) -> str:
    """An answer as the released files write it: the public generator has numbers and booleans instead."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer)
