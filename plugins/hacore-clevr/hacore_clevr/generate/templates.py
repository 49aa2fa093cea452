"""Question templates: the graph of functions, the wordings, and what a question must not be.

A folder of templates holds JSON files, each a list of families in the format of the public generator:
``text`` (wordings with the slots ``<Z> <C> <M> <S> <R>``, numbered, and optional words in square
brackets), ``nodes`` (``type, inputs, side_inputs``), ``params`` (``type, name``), ``constraints``
(``NULL``: the filter leaves that parameter empty; ``OUT_NEQ``: the two nodes differ).

The 90 families here have the graphs of CLEVR's, wordings of their own, and the numbers of the released
questions, see ``hacore_clevr.families``. Where the paper does not say which graphs a file holds: single_and
joins two relations (a count and four queries); single_or counts unions of filters, of relations, or both, and
unions within one value of an attribute; compare_integer compares plain filters, a relation with a filter, and
two relations.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import DataError, one_line
from hacore.machine.texts import composed, decode_text
from hacore_clevr.families import ENDS
from hacore_clevr.generate.functions import ANSWERS, RELATION, SIGNATURES
from hacore_clevr.generate.wording import Wording, parse_wording

PARAMETER_TYPES = {
    "Size": "size",
    "Color": "color",
    "Material": "material",
    "Shape": "shape",
    "Relation": RELATION,
}
CONSTRAINTS = ("NULL", "OUT_NEQ")

_OWN = resources.files("hacore_clevr.generate").joinpath("templates")


@attrs.frozen(kw_only=True)
class Node:
    """A function of a template; ``slots`` names the parameters that its constants come from."""

    function: str
    inputs: tuple[int, ...]
    slots: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Template:
    """A question family.

    family: its number over all files, CLEVR's in its order first, then others by name. parameters: slot ->
    attribute or "relation". empty: slots that a filter leaves out. different: pairs of nodes whose outputs
    differ.
    """

    file: str
    family: int
    wordings: tuple[Wording, ...]
    nodes: tuple[Node, ...]
    parameters: Mapping[str, str]
    empty: frozenset[str]
    different: tuple[tuple[int, int], ...]


def load_templates(folder: Path | None = None, only: Sequence[str] = ()) -> tuple[Template, ...]:
    """The families of a folder, or the 90 that come with the package.

    only: names of the files, without ``.json``, whose families are loaded; none: all. A family has the
    same number either way. DataError with a line for each problem, which names file and family; the first
    line counts them.
    """
    place: Traversable | Path = folder or _OWN
    problems: list[str] = []
    templates: list[Template] = []
    family = 0
    for file in _files(place):
        for index, raw in enumerate(_families(file, problems)):
            reader = _Reader(f"{file.name}: family {index}")
            template = reader.template(raw, file.name, family)
            problems += reader.problems
            templates += [template] if template else []
            family += 1
    names = [file.name.removesuffix(".json") for file in _files(place)]
    if unknown := [name for name in only if name not in names]:
        raise DataError(f"{place}: has no templates {', '.join(unknown)}; it has {', '.join(names)}")
    if problems:
        lines = "\n".join(one_line(problem) for problem in problems)
        raise DataError(f"{place}: {len(problems)} found in question templates; fix them:\n{lines}")
    return tuple(
        template for template in templates if not only or template.file.removesuffix(".json") in only
    )


def digest(folder: Path | None = None) -> str:
    """SHA-256 of the template files that ``load_templates`` reads, with their names."""
    checksum = hashlib.sha256()
    for file in _files(folder or _OWN):
        checksum.update(f"{file.name}\n{decode_text(file.read_bytes())}\n".encode())
    return checksum.hexdigest()


def _files(place: Traversable | Path) -> list[Any]:
    try:
        files = [one for one in place.iterdir() if one.name.endswith(".json")]
    except OSError as error:
        raise DataError(
            f"{place}: templates cannot be read: {error.strerror or error}; name a folder of .json files"
        ) from None
    if not files:
        raise DataError(f"{place}: no question templates; name a folder of .json files")
    order = {f"{name}.json": number for number, name in enumerate(ENDS)}
    return sorted(files, key=lambda one: (order.get(one.name, len(order)), one.name))


def _families(file: Any, problems: list[str]) -> list[Any]:
    try:
        raw = json.loads(composed(decode_text(file.read_bytes())))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{file.name}: cannot be read as JSON: {error}")
        return []
    if not isinstance(raw, list) or not raw:
        problems.append(f"{file.name}: a list of families is expected")
        return []
    return raw


class _Reader:
    """Reads one family and collects what is wrong with it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[str] = []

    def bad(self, text: str) -> None:
        self.problems.append(f"{self.where}: {text}")

    def template(self, raw: Any, file: str, family: int) -> Template | None:
        if not isinstance(raw, dict):
            self.bad(f"{raw!r} found where a JSON object is expected")
            return None
        parameters = self.parameters(raw.get("params"))
        nodes = self.nodes(raw.get("nodes"), parameters)
        wordings = self.wordings(raw.get("text"), parameters)
        empty, different = self.constraints(raw.get("constraints", []), parameters, len(nodes))
        if not self.problems:
            self.said_and_bound(wordings, {slot for node in nodes for slot in node.slots}, empty)
        if self.problems:
            return None
        return Template(
            file=file,
            family=family,
            wordings=wordings,
            nodes=nodes,
            parameters=parameters,
            empty=empty,
            different=different,
        )

    def parameters(self, raw: Any) -> dict[str, str]:
        types: dict[str, str] = {}
        for entry in self._list(raw, "params"):
            name, kind = (entry.get("name"), entry.get("type")) if isinstance(entry, dict) else (None, None)
            if not isinstance(name, str) or not re.fullmatch(r"<\w+>", name):
                self.bad(f"params: {entry!r} has no name such as <Z2>")
            elif not isinstance(kind, str) or kind not in PARAMETER_TYPES:
                self.bad(f"parameter {name}: type {kind!r} is not one of {', '.join(PARAMETER_TYPES)}")
            elif name in types:
                self.bad(f"parameter {name} is declared twice")
            else:
                types[name] = PARAMETER_TYPES[kind]
        return types

    def nodes(self, raw: Any, parameters: Mapping[str, str]) -> tuple[Node, ...]:
        nodes: list[Node] = []
        kinds: list[str | None] = []
        for index, entry in enumerate(self._list(raw, "nodes")):
            function = entry.get("type", entry.get("function")) if isinstance(entry, dict) else None
            if not isinstance(function, str) or function not in SIGNATURES:
                self.bad(f"node {index}: unknown type {function!r}; known are {', '.join(SIGNATURES)}")
                kinds.append(None)
                continue
            inputs = self._inputs(index, function, entry.get("inputs", []), kinds)
            slots = self._slots(index, function, entry.get("side_inputs", []), parameters)
            nodes.append(Node(function=function, inputs=inputs, slots=slots))
            kinds.append(SIGNATURES[function].output)
        if not kinds:
            self.bad("nodes: at least one is expected")
        elif kinds[-1] is not None and kinds[-1] not in ANSWERS:
            self.bad(f"the last node gives {kinds[-1]}, which is not an answer")
        return tuple(nodes)

    def _inputs(self, index: int, function: str, raw: Any, kinds: list[str | None]) -> tuple[int, ...]:
        expected = SIGNATURES[function].inputs
        if not isinstance(raw, list) or len(raw) != len(expected):
            self.bad(f"node {index}: inputs of {function} are {raw!r}; {len(expected)} expected")
            return ()
        for one, kind in zip(raw, expected, strict=True):
            if type(one) is not int or not 0 <= one < index:
                self.bad(f"node {index}: input {one!r} of {function} is not a node before it")
            elif kinds[one] not in (kind, None):
                self.bad(f"node {index}: {function} reads {kind}, but node {one} gives {kinds[one]}")
        return tuple(one for one in raw if type(one) is int)

    def _slots(self, index: int, function: str, raw: Any, parameters: Mapping[str, str]) -> tuple[str, ...]:
        expected = SIGNATURES[function].values
        if not isinstance(raw, list) or len(raw) != len(expected):
            self.bad(f"node {index}: side_inputs of {function} are {raw!r}; {len(expected)} expected")
            return ()
        for slot, kind in zip(raw, expected, strict=True):
            if not isinstance(slot, str) or slot not in parameters:
                self.bad(f"node {index}: side input {slot!r} of {function} is not a parameter of params")
            elif parameters[slot] != kind:
                self.bad(f"node {index}: {function} takes a {kind}, but {slot} is a {parameters[slot]}")
        return tuple(slot for slot in raw if isinstance(slot, str))

    def wordings(self, raw: Any, parameters: Mapping[str, str]) -> tuple[Wording, ...]:
        wordings = []
        for index, text in enumerate(self._list(raw, "text")):
            if not isinstance(text, str) or not text.strip():
                self.bad(f"text {index}: {text!r} is not a wording")
                continue
            try:
                wordings.append(parse_wording(text, parameters))
            except ValueError as error:
                self.bad(f"text {index}: {error}")
        if raw == []:
            self.bad("text: at least one wording is expected")
        return tuple(wordings)

    def constraints(
        self, raw: Any, parameters: Mapping[str, str], nodes: int
    ) -> tuple[frozenset[str], tuple[tuple[int, int], ...]]:
        empty: set[str] = set()
        different: list[tuple[int, int]] = []
        for index, entry in enumerate(self._list(raw, "constraints")):
            kind, given = (
                (entry.get("type"), entry.get("params")) if isinstance(entry, dict) else (None, None)
            )
            given = given if isinstance(given, list) else [given]
            if kind == "NULL":
                wrong = [
                    one
                    for one in given
                    if not isinstance(one, str) or parameters.get(one, RELATION) == RELATION
                ]
                if wrong:
                    self.bad(
                        f"constraint {index}: {wrong[0]!r} is not a parameter of params that can be empty"
                    )
                empty.update(one for one in given if isinstance(one, str))
            elif kind == "OUT_NEQ":
                good = [one for one in given if type(one) is int and 0 <= one < nodes]
                if len(given) != 2 or len(good) != 2 or good[0] == good[1]:
                    self.bad(f"constraint {index}: params of OUT_NEQ are {given!r}; give two different nodes")
                else:
                    different.append((good[0], good[1]))
            else:
                self.bad(f"constraint {index}: type {kind!r} is not one of {', '.join(CONSTRAINTS)}")
        return frozenset(empty), tuple(different)

    def said_and_bound(self, wordings: tuple[Wording, ...], bound: set[str], empty: frozenset[str]) -> None:
        """What is said must be bound by a node, and what is bound must be said by some wording."""
        for index, wording in enumerate(wordings):
            for slot in sorted(wording.slots - bound):
                self.bad(f"text {index}: slot {slot} is not a side input of any node")
        if not any(bound - empty <= wording.slots for wording in wordings):
            missing = sorted(bound - empty - frozenset().union(*(one.slots for one in wordings)))
            self.bad(
                f"text: no wording says all of the parameters that nodes use; never said: {missing or 'none'}"
            )

    def _list(self, raw: Any, name: str) -> list[Any]:
        if isinstance(raw, list):
            return raw
        self.bad(f"{name} is {'missing' if raw is None else 'not a list'}")
        return []
