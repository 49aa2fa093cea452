"""Questions in which a part of the program does nothing: they can be answered without that part.

A relation is useless when nothing notices the whole scene in its place, a union or intersection when
nothing notices one of its two sets in its place, and a function of two inputs when both are the same
subprogram. A change is noticed when it reaches a set that ``unique``, ``count`` or ``exist`` reads. So a
relation before ``exist`` is useful when it changes which objects there are, even if there are some with
it and without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hacore_clevr.programs import FUNCTIONS, OBJECTS, World

Program = Sequence[Mapping[str, Any]]


def useless_node(program: Program, world: World) -> int | None:
    """The first node that does nothing in this world, or None.

    program: nodes of the released format, no composites, with an answer in this world.
    """
    outputs: list[Any] = []
    for node in program:
        outputs.append(_output(node, world, outputs))
    for index, node in enumerate(program):
        function, inputs = node["function"], node["inputs"]
        stand_ins = []
        if function == "relate":
            stand_ins = [world.everything]
        elif function in ("union", "intersect"):
            stand_ins = [outputs[inputs[0]], outputs[inputs[1]]]
        if any(not _noticed(program, world, outputs, index, stand_in) for stand_in in stand_ins):
            return index
        if len(inputs) == 2 and _subprogram(program, inputs[0]) == _subprogram(program, inputs[1]):
            return index
    return None


def _output(node: Mapping[str, Any], world: World, outputs: Sequence[Any]) -> Any:
    inputs = [outputs[one] for one in node["inputs"]]
    return FUNCTIONS[node["function"]].run(world, inputs, node["value_inputs"])


def _noticed(program: Program, world: World, outputs: list[Any], index: int, stand_in: Any) -> bool:
    """Does any function that makes something else of a set read another set, if this output is replaced?"""
    if stand_in == outputs[index]:
        return False
    replaced = [*outputs[:index], stand_in]
    for later in range(index + 1, len(program)):
        node, output = program[later], outputs[later]
        if any(replaced[one] != outputs[one] for one in node["inputs"]):
            if FUNCTIONS[node["function"]].output != OBJECTS:
                return True
            output = _output(node, world, replaced)
        replaced.append(output)
    return False


def _subprogram(program: Program, index: int) -> tuple[Any, ...]:
    node = program[index]
    return (node["function"], node["value_inputs"], *[_subprogram(program, one) for one in node["inputs"]])
