"""Questions in which a part of the program does nothing: they can be answered without that part.

A relation is useless when the whole scene in its place is not noticed, a union or intersection when one
of its two sets in its place is not noticed, and a function of two inputs when both are the same
subprogram. A change is noticed when it reaches a set that ``unique``, ``count``, ``exist`` or a relation
reads. So a relation before ``exist`` is useful when it changes which objects there are, even if there is
one with it and without it.
"""

from __future__ import annotations

from hacore_clevr.generate.instructions import FUNCTIONS, SET, SIGNATURES, Code, Output, run
from hacore_clevr.generate.worlds import World

_JOINS = ("union", "intersect")


def useless_node(code: Code, world: World) -> int | None:
    """The first node of an unfolded program that does nothing in this world, or None.

    ProgramError if the program has no answer there.
    """
    outputs = run(code, world)
    for index, (function, inputs, _) in enumerate(code):
        stand_ins: tuple[Output, ...] = ()
        if function == "relate":
            stand_ins = (world.everything,)
        elif function in _JOINS:
            stand_ins = (outputs[inputs[0]], outputs[inputs[1]])
        if any(not _noticed(code, world, outputs, index, stand_in) for stand_in in stand_ins):
            return index
        if len(inputs) == 2 and _subprogram(code, inputs[0]) == _subprogram(code, inputs[1]):
            return index
    return None


def _noticed(code: Code, world: World, outputs: list[Output], index: int, stand_in: Output) -> bool:
    """Does any function that turns sets into something else read another set with this output instead?"""
    changed = {index: stand_in} if stand_in != outputs[index] else {}
    for later in range(index + 1, len(code)):
        function, inputs, values = code[later]
        if not any(one in changed for one in inputs):
            continue
        if SIGNATURES[function].output != SET:
            return True
        found = FUNCTIONS[function](world, [changed.get(one, outputs[one]) for one in inputs], values)
        if found != outputs[later]:
            changed[later] = found
    return False


def _subprogram(code: Code, index: int) -> tuple[object, ...]:
    function, inputs, values = code[index]
    return (function, values, *[_subprogram(code, one) for one in inputs])
