"""Depth-first search for parameters that make a template a good question about a world.

Nodes are taken in order. A node with parameters is tried with some of its possible constants in a random
order; a node without is executed. A branch ends as soon as ``unique`` finds no single object, two outputs
that must differ are the same, or a union or intersection adds nothing to one of its sets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import attrs

from hacore_clevr.domain import ATTRIBUTES, NUMBERS
from hacore_clevr.generate.choices import Choice, Choices
from hacore_clevr.generate.degenerate import useless_node
from hacore_clevr.generate.functions import SIGNATURES
from hacore_clevr.generate.stream import Stream
from hacore_clevr.generate.templates import Template
from hacore_clevr.programs import FUNCTIONS, NUMBER, TRUTH, normal_answer, unfold

WIDTH = 8
"""Constants tried at a node before the one above it tries others."""
EFFORT = 120
"""Nodes visited before a template is given up."""

Found = Callable[[Choices, Any], list[Choice]]
Constants = tuple[tuple[str, ...], ...]
"""Of every node of a template."""

_FINISH: dict[str, Callable[[int], Any]] = {
    "_count": int.bit_count,
    "_exist": bool,
    "_unique": lambda objects: objects.bit_length() - 1,
}


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """A template made ready for the search.

    choose: by node, what its constants can be given its input's output; None for a node without
    parameters. finish: by node, from the objects that fit to the output. differ: by node, earlier nodes
    whose output it must not have. repeated: by node, (place, slot) of constants that an earlier node sets.
    answers: all that the last function can give.
    """

    template: Template
    choose: tuple[Found | None, ...]
    finish: tuple[Callable[[int], Any] | None, ...]
    differ: tuple[tuple[int, ...], ...]
    repeated: tuple[tuple[tuple[int, str], ...], ...]
    answers: tuple[str, ...]


@attrs.frozen
class Instance:
    """A template with its parameters.

    program: official nodes, no composites. values: by slot, "" where a filter leaves one out.
    """

    constants: Constants
    program: list[dict[str, Any]]
    values: dict[str, str]
    answer: str


def plan(template: Template) -> Plan:
    """The plan of a template."""
    nodes = template.nodes
    bound: set[str] = set()
    repeated = []
    for node in nodes:
        repeated.append(tuple((place, slot) for place, slot in enumerate(node.slots) if slot in bound))
        bound.update(node.slots)
    differ: list[list[int]] = [[] for _ in nodes]
    for one, two in template.different:
        differ[max(one, two)].append(min(one, two))
    output = SIGNATURES[nodes[-1].function].output
    answers = {NUMBER: NUMBERS, TRUTH: ("yes", "no"), **ATTRIBUTES}[output]
    return Plan(
        template=template,
        choose=tuple(_choose(node.function, node.slots, template) for node in nodes),
        finish=tuple(_FINISH.get(node.function[node.function.rfind("_") :]) for node in nodes),
        differ=tuple(tuple(some) for some in differ),
        repeated=tuple(repeated),
        answers=answers,
    )


def _choose(function: str, slots: tuple[str, ...], template: Template) -> Found | None:
    if not slots:
        return None
    if function == "relate":
        return Choices.relations
    head, _, ending = function.rpartition("filter")
    if ending[1:] in ATTRIBUTES:
        return lambda choices, objects: choices.values(objects, ending[1:])
    described = slots[1:] if head else slots
    silent = tuple(slot in template.empty for slot in described)
    if head:
        return lambda choices, origin: choices.relate_filters(origin, ending, silent)
    return lambda choices, objects: choices.filters(objects, ending, silent)


class Search:
    """One search, of one template in one world."""

    def __init__(self, plan: Plan, choices: Choices, stream: Stream, allowed: Collection[str]) -> None:
        self._plan = plan
        self._nodes = plan.template.nodes
        self._choices = choices
        self._stream = stream
        self._allowed = allowed
        self._left = EFFORT
        self._outputs: list[Any] = [None] * len(self._nodes)
        self._constants: list[tuple[str, ...]] = [()] * len(self._nodes)
        self._asked: Collection[Constants] = ()

    def run(self, asked: Collection[Constants]) -> Instance | None:
        """A question with one of the allowed answers and constants that were not asked, or None."""
        self._asked = asked
        return self._from(0)

    def _from(self, index: int) -> Instance | None:
        """Fill in the nodes from this one on."""
        outputs, nodes = self._outputs, self._nodes
        while index < len(nodes):
            self._left -= 1
            choose = self._plan.choose[index]
            if choose is not None:
                return self._try(index, choose(self._choices, outputs[nodes[index].inputs[0]]))
            if not self._execute(index):
                return None
            index += 1
        return self._finished()

    def _execute(self, index: int) -> bool:
        """Execute a node without parameters; False where that ends the branch."""
        node = self._nodes[index]
        inputs = [self._outputs[one] for one in node.inputs]
        function = node.function
        if function == "unique" and (not inputs[0] or inputs[0] & (inputs[0] - 1)):
            return False
        output = FUNCTIONS[function].run(self._choices.world, inputs, ())
        if function in ("union", "intersect") and output in inputs:
            return False
        self._outputs[index] = output
        return not any(self._outputs[one] == output for one in self._plan.differ[index])

    def _try(self, index: int, options: list[Choice]) -> Instance | None:
        finish = self._plan.finish[index]
        for place, slot in self._plan.repeated[index]:
            options = [one for one in options if one[0][place] == self._value(slot, index)]
        if index == len(self._nodes) - 1 and finish is not None:
            options = [one for one in options if normal_answer(finish(one[1])) in self._allowed]
        else:
            options = options[:]
        for remaining in range(len(options), max(len(options) - WIDTH, 0), -1):
            if self._left <= 0:
                return None
            drawn = self._stream.below(remaining)
            constants, objects = options[drawn]
            options[drawn] = options[remaining - 1]
            output = finish(objects) if finish is not None else objects
            if any(self._outputs[one] == output for one in self._plan.differ[index]):
                continue
            self._outputs[index], self._constants[index] = output, constants
            if instance := self._from(index + 1):
                return instance
        return None

    def _value(self, slot: str, before: int) -> str:
        for node, constants in zip(self._nodes[:before], self._constants[:before], strict=True):
            if slot in node.slots:
                return constants[node.slots.index(slot)]
        raise AssertionError(slot)

    def _finished(self) -> Instance | None:
        answer = normal_answer(self._outputs[-1])
        if answer not in self._allowed:
            return None
        constants = tuple(self._constants)
        if constants in self._asked:
            return None
        program = unfold(
            [
                {"function": node.function, "inputs": list(node.inputs), "value_inputs": some}
                for node, some in zip(self._nodes, constants, strict=True)
            ]
        )
        if useless_node(program, self._choices.world) is not None:
            return None
        pairs = zip(self._nodes, constants, strict=True)
        values = {slot: value for node, some in pairs for slot, value in zip(node.slots, some, strict=True)}
        return Instance(constants, program, values, answer)
