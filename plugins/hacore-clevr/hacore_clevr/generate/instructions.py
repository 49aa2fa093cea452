"""Programs of questions, checked and executed on worlds.

A program is the list of nodes of a CLEVR question: each names its function (``function`` in the
released files, ``type`` in those of the public generator), the nodes it reads (``inputs``) and its
constants (``value_inputs`` or ``side_inputs``). All functions of CLEVR are known, with the composites
that templates are written in. Source: Johnson et al. 2017, arXiv 1612.06890.

Imports neither torch nor NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from hacore_clevr.domain import ATTRIBUTES, RELATIONS
from hacore_clevr.generate.worlds import World, members

SET, OBJECT, NUMBER, TRUTH = "a set", "an object", "a number", "a truth value"
ANSWER_KINDS = (NUMBER, TRUTH, *ATTRIBUTES)


class ProgramError(ValueError):
    """A program that cannot be executed; ``node`` is the first node at fault, None for no node at all."""

    def __init__(self, node: int | None, reason: str) -> None:
        self.node, self.reason = node, reason
        super().__init__(reason if node is None else f"node {node}: {reason}")


@attrs.frozen(kw_only=True)
class Signature:
    """What a function takes and gives.

    inputs: kinds of the nodes it reads. values: attributes of its constants, or "relation".
    optional: its constants of an attribute may be left out, with "" or null. output: its kind.
    """

    inputs: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    optional: bool = False
    output: str


def _signatures() -> dict[str, Signature]:
    known = {
        "scene": Signature(output=SET),
        "unique": Signature(inputs=(SET,), output=OBJECT),
        "relate": Signature(inputs=(OBJECT,), values=("relation",), output=SET),
        "count": Signature(inputs=(SET,), output=NUMBER),
        "exist": Signature(inputs=(SET,), output=TRUTH),
    }
    for name in ATTRIBUTES:
        known[f"filter_{name}"] = Signature(inputs=(SET,), values=(name,), output=SET)
        known[f"query_{name}"] = Signature(inputs=(OBJECT,), output=name)
        known[f"same_{name}"] = Signature(inputs=(OBJECT,), output=SET)
        known[f"equal_{name}"] = Signature(inputs=(name, name), output=TRUTH)
    for name in ("union", "intersect"):
        known[name] = Signature(inputs=(SET, SET), output=SET)
    for name in ("equal_integer", "less_than", "greater_than"):
        known[name] = Signature(inputs=(NUMBER, NUMBER), output=TRUTH)
    for ending, output in (("", SET), ("_unique", OBJECT), ("_count", NUMBER), ("_exist", TRUTH)):
        described = tuple(ATTRIBUTES)
        known[f"filter{ending}"] = Signature(inputs=(SET,), values=described, optional=True, output=output)
        known[f"relate_filter{ending}"] = Signature(
            inputs=(OBJECT,), values=("relation", *described), optional=True, output=output
        )
    return known


SIGNATURES: Mapping[str, Signature] = _signatures()
VALUES: Mapping[str, tuple[str, ...]] = {**ATTRIBUTES, "relation": RELATIONS}


class Instruction(NamedTuple):
    """A checked node: function, nodes it reads, constants ("" where one is left out)."""

    function: str
    inputs: tuple[int, ...] = ()
    values: tuple[str, ...] = ()


Code = Sequence[Instruction]
Output = int | bool | str
"""A set or an object (its set of one) as bits, a number, a truth value, or an attribute's value."""


@attrs.frozen(kw_only=True)
class Step:
    """The output of a node. kind: "a set", "an object", "a number", "a truth value" or an attribute.

    value: the indices of a set's objects, the index of an object, an int, a bool, or the attribute's value.
    """

    function: str
    kind: str
    value: tuple[int, ...] | int | bool | str


def execute(program: Any, world: World) -> str:
    """The answer to a program, one of ``hacore_clevr.domain.ANSWERS``. ProgramError if it has none."""
    return answer_text(run(check(program), world)[-1])


def steps(program: Any, world: World) -> list[Step]:
    """The output of every node. ProgramError as ``execute``."""
    code = check(program)
    found = []
    for instruction, output in zip(code, run(code, world), strict=True):
        kind = SIGNATURES[instruction.function].output
        value: Any = output
        if kind == SET:
            value = members(int(output))
        elif kind == OBJECT:
            value = int(output).bit_length() - 1
        found.append(Step(function=instruction.function, kind=kind, value=value))
    return found


def last_function(program: Any) -> str:
    """The function that gives the answer and decides the question's type. ProgramError if there is none."""
    if not isinstance(program, list) or not program:
        raise ProgramError(None, "the program is empty or not a list")
    return _function(program[-1], len(program) - 1)


def normal_answer(value: Any) -> str:
    """An answer as text: the released files hold text, the public generator numbers and truth values.

    ValueError for anything else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return answer_text(value)
    raise ValueError(f"answer {value!r}: text, a whole number or a truth value is expected")


def answer_text(output: Output) -> str:
    """The output of a last node as the released files write it."""
    if isinstance(output, bool):
        return "yes" if output else "no"
    return str(output)


def check(program: Any) -> list[Instruction]:
    """The program's nodes, checked for all that does not depend on a world.

    ProgramError names the first node that is wrong: a function that is not known, too few or too many
    inputs or constants, an input that does not come before its node, an input of the wrong kind, a
    constant that is not known, a last node that gives no answer.
    """
    if not isinstance(program, list) or not program:
        raise ProgramError(None, "the program is empty or not a list")
    code: list[Instruction] = []
    kinds: list[str] = []
    for index, node in enumerate(program):
        function = _function(node, index)
        signature = SIGNATURES[function]
        inputs = _inputs(node, index, signature, function, kinds)
        code.append(Instruction(function, inputs, _values(node, index, signature, function)))
        kinds.append(signature.output)
    if kinds[-1] not in ANSWER_KINDS:
        raise ProgramError(
            len(program) - 1, f"the last function, {code[-1].function}, gives {kinds[-1]}, no answer"
        )
    return code


def _function(node: Any, index: int) -> str:
    if not isinstance(node, Mapping):
        raise ProgramError(index, f"{node!r} found where a JSON object is expected")
    function = node.get("function", node.get("type"))
    if not isinstance(function, str) or function not in SIGNATURES:
        found = "no function" if function is None else f"unknown function {function!r}"
        raise ProgramError(index, f"{found}; known are {', '.join(SIGNATURES)}")
    return function


def _inputs(
    node: Mapping[str, Any], index: int, signature: Signature, function: str, kinds: Sequence[str]
) -> tuple[int, ...]:
    inputs = node.get("inputs", [])
    expected = signature.inputs
    if not isinstance(inputs, list) or len(inputs) != len(expected):
        found = f"{len(inputs)}" if isinstance(inputs, list) else f"{inputs!r}"
        raise ProgramError(index, f"{function} has {found} inputs; {len(expected)} expected")
    for one, kind in zip(inputs, expected, strict=True):
        if type(one) is not int or not 0 <= one < index:
            raise ProgramError(
                index, f"input {one!r} of {function} is not a node before it, 0 to {index - 1}"
            )
        if kinds[one] != kind:
            raise ProgramError(index, f"{function} reads {kind}, but node {one} gives {kinds[one]}")
    return tuple(inputs)


def _values(node: Mapping[str, Any], index: int, signature: Signature, function: str) -> tuple[str, ...]:
    values = node.get("value_inputs")
    if values is None:
        values = node.get("side_inputs")
    if values is None:
        values = []
    expected = signature.values
    if not isinstance(values, list) or len(values) != len(expected):
        found = f"{len(values)}" if isinstance(values, list) else f"{values!r}"
        raise ProgramError(index, f"{function} has {found} constants; {len(expected)} expected")
    for value, name in zip(values, expected, strict=True):
        absent = value is None or value == ""
        if not (absent and signature.optional and name != "relation") and value not in VALUES[name]:
            raise ProgramError(
                index, f"constant {value!r} of {function} is not known; a {name} is {', '.join(VALUES[name])}"
            )
    return tuple([value or "" for value in values])


def run(code: Code, world: World) -> list[Output]:
    """The output of every instruction. ProgramError where ``unique`` is not given exactly one object."""
    outputs: list[Any] = []
    for function, inputs, values in code:
        try:
            outputs.append(FUNCTIONS[function](world, [outputs[index] for index in inputs], values))
        except _NotOneError as error:
            count = int(error.args[0]).bit_count()
            raise ProgramError(
                len(outputs), f"{function} needs a set of exactly one object, this one has {count}"
            ) from None
    return outputs


def unfold(code: Code) -> list[Instruction]:
    """The same program without composites: one node a function, one filter an attribute, in order."""
    plain: list[Instruction] = []
    place: list[int] = []
    for function, inputs, values in code:
        head, _, ending = function.rpartition("filter")
        if "filter" in function and ending in _UNFOLDED:
            last = place[inputs[0]]
            described = values
            if head:
                plain.append(Instruction("relate", (last,), values[:1]))
                last, described = len(plain) - 1, values[1:]
            for name, value in zip(ATTRIBUTES, described, strict=True):
                if value:
                    plain.append(Instruction(f"filter_{name}", (last,), (value,)))
                    last = len(plain) - 1
            if _UNFOLDED[ending]:
                plain.append(Instruction(_UNFOLDED[ending], (last,)))
                last = len(plain) - 1
            place.append(last)
        else:
            plain.append(Instruction(function, tuple([place[one] for one in inputs]), values))
            place.append(len(plain) - 1)
    return plain


_UNFOLDED = {"": "", "_unique": "unique", "_count": "count", "_exist": "exist"}


class _NotOneError(Exception):
    pass


Handler = Callable[[World, list[Any], tuple[str, ...]], Any]


def _only(objects: int) -> int:
    """The set itself if it has exactly one object."""
    if not objects or objects & (objects - 1):
        raise _NotOneError(objects)
    return objects


def _described(world: World, objects: int, values: Sequence[str]) -> int:
    for value in values:
        if value:
            objects &= world.having[value]
    return objects


def _handlers() -> dict[str, Handler]:
    known: dict[str, Handler] = {
        "scene": lambda world, inputs, values: world.everything,
        "unique": lambda world, inputs, values: _only(inputs[0]),
        "relate": lambda world, inputs, values: world.related[values[0]][inputs[0].bit_length() - 1],
        "count": lambda world, inputs, values: inputs[0].bit_count(),
        "exist": lambda world, inputs, values: inputs[0] != 0,
        "union": lambda world, inputs, values: inputs[0] | inputs[1],
        "intersect": lambda world, inputs, values: inputs[0] & inputs[1],
        "equal_integer": lambda world, inputs, values: inputs[0] == inputs[1],
        "less_than": lambda world, inputs, values: inputs[0] < inputs[1],
        "greater_than": lambda world, inputs, values: inputs[0] > inputs[1],
    }
    for name in ATTRIBUTES:
        known[f"filter_{name}"] = lambda world, inputs, values: inputs[0] & world.having[values[0]]
        known[f"equal_{name}"] = lambda world, inputs, values: inputs[0] == inputs[1]
        known[f"query_{name}"] = _query(name)
        known[f"same_{name}"] = _same(name)
    endings: dict[str, Callable[[int], Any]] = {
        "": lambda objects: objects,
        "_unique": _only,
        "_count": int.bit_count,
        "_exist": bool,
    }
    for ending, finish in endings.items():
        known[f"filter{ending}"] = _filter(finish)
        known[f"relate_filter{ending}"] = _relate_filter(finish)
    return known


def _query(name: str) -> Handler:
    return lambda world, inputs, values: world.value[name][inputs[0].bit_length() - 1]


def _same(name: str) -> Handler:
    return lambda world, inputs, values: world.same[name][inputs[0].bit_length() - 1]


def _filter(finish: Callable[[int], Any]) -> Handler:
    return lambda world, inputs, values: finish(_described(world, inputs[0], values))


def _relate_filter(finish: Callable[[int], Any]) -> Handler:
    def handler(world: World, inputs: list[Any], values: tuple[str, ...]) -> Any:
        related = world.related[values[0]][inputs[0].bit_length() - 1]
        return finish(_described(world, related, values[1:]))

    return handler


FUNCTIONS: Mapping[str, Handler] = _handlers()
"""By name: (world, outputs of the inputs, constants) -> output."""
