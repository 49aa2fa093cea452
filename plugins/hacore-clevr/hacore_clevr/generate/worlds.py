"""Scenes in the official format, compiled for programs and checked against themselves.

A set of objects is an int: bit i stands for object i. Imports neither torch nor NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hacore_clevr.domain import ATTRIBUTES, RELATIONS

EPSILON = 0.2
"""An object is in a relation when its offset along the relation's direction exceeds this."""

ROUNDING = 1e-6
"""Offsets this close to ``EPSILON`` may fall on either side: files may hold rounded numbers."""


@attrs.frozen(kw_only=True, eq=False)
class World:
    """A scene as bit sets, so that a function of a program is one or two operations on ints.

    objects: how many. everything: the set of all. having: the set with an attribute's value, by value
    (no value belongs to two attributes). related: by relation and object, the set in that relation to
    the object. same: by attribute and object, the other objects that share its value. value: by
    attribute and object.
    """

    objects: int
    everything: int
    having: Mapping[str, int]
    related: Mapping[str, Sequence[int]]
    same: Mapping[str, Sequence[int]]
    value: Mapping[str, Sequence[str]]

    @classmethod
    def from_scene(cls, scene: Mapping[str, Any]) -> World:
        """The world of an official scene. ValueError names everything that keeps it from being one."""
        try:
            world = cls._compiled(scene)
        except (LookupError, TypeError, ValueError, AttributeError):
            problems = [*_object_problems(scene), *_relation_problems(scene)]
            raise ValueError("; ".join(problems) or "is not a scene in the official format") from None
        return world

    @classmethod
    def _compiled(cls, scene: Mapping[str, Any]) -> World:
        things = scene["objects"]
        everything = (1 << len(things)) - 1
        having = {value: 0 for values in ATTRIBUTES.values() for value in values}
        value = {name: [thing[name] for thing in things] for name in ATTRIBUTES}
        same = {}
        for name, values in ATTRIBUTES.items():
            for index, found in enumerate(value[name]):
                if found not in values:
                    raise ValueError
                having[found] |= 1 << index
            same[name] = [having[found] & ~(1 << index) for index, found in enumerate(value[name])]
        related = {}
        for relation in RELATIONS:
            rows = scene["relationships"][relation]
            related[relation] = [sum(1 << index for index in row) for row in rows]
            if len(rows) != len(things):
                raise ValueError
            for index, (row, found) in enumerate(zip(rows, related[relation], strict=True)):
                if found > everything or found >> index & 1 or len(row) != found.bit_count():
                    raise ValueError
        return cls(
            objects=len(things), everything=everything, having=having, related=related, same=same, value=value
        )


def members(objects: int) -> tuple[int, ...]:
    """The indices of the objects in a set, in order."""
    return tuple(index for index in range(objects.bit_length()) if objects >> index & 1)


def scene_problems(scene: Any) -> list[str]:
    """Everything wrong with a scene by itself: fields, values, and relations that its places deny.

    A line each, without the scene's own place. The relations are computed anew from ``3d_coords`` and
    ``directions`` with the threshold ``EPSILON``.
    """
    if not isinstance(scene, Mapping):
        return [f"{_kind(scene)} found where a scene, a JSON object, is expected"]
    problems = []
    for name, expected in (("image_filename", str), ("image_index", int), ("split", str)):
        if not _is(scene.get(name), expected):
            problems.append(f"{name} is {_shown(scene, name)}; {_NAMES[expected]} is expected")
    problems += _object_problems(scene)
    problems += _relation_problems(scene)
    places, directions = _place_problems(scene), _direction_problems(scene)
    problems += places + directions
    return problems or _denied_relations(scene)


def _object_problems(scene: Any) -> list[str]:
    things = scene.get("objects") if isinstance(scene, Mapping) else None
    if not isinstance(things, list):
        return ["objects is missing or not a list"]
    problems = []
    for index, thing in enumerate(things):
        if not isinstance(thing, Mapping):
            problems.append(f"objects[{index}] is {_kind(thing)}; a JSON object is expected")
            continue
        for name, values in ATTRIBUTES.items():
            if thing.get(name) not in values:
                allowed = ", ".join(values)
                problems.append(f"objects[{index}].{name} is {_shown(thing, name)}; allowed are {allowed}")
    return problems


def _place_problems(scene: Mapping[str, Any]) -> list[str]:
    problems = []
    things = scene.get("objects")
    for index, thing in enumerate(things if isinstance(things, list) else []):
        if isinstance(thing, Mapping):
            for name, count in (("3d_coords", 3), ("pixel_coords", 3)):
                if not _numbers(thing.get(name), count):
                    problems.append(
                        f"objects[{index}].{name} is {_shown(thing, name)}; give {count} finite numbers"
                    )
    return problems


def _direction_problems(scene: Mapping[str, Any]) -> list[str]:
    directions = scene.get("directions")
    if not isinstance(directions, Mapping):
        return ["directions is missing or not a JSON object"]
    return [
        f"directions.{name} is {_shown(directions, name)}; 3 finite numbers are expected"
        for name in RELATIONS
        if not _numbers(directions.get(name), 3)
    ]


def _relation_problems(scene: Any) -> list[str]:
    table = scene.get("relationships") if isinstance(scene, Mapping) else None
    if not isinstance(table, Mapping):
        return ["relationships is missing or not a JSON object"]
    things = scene.get("objects")
    count = len(things) if isinstance(things, list) else 0
    problems = []
    for relation in RELATIONS:
        rows = table.get(relation)
        if not isinstance(rows, list) or len(rows) != count:
            found = f"a list of {len(rows)}" if isinstance(rows, list) else _shown(table, relation)
            problems.append(
                f"relationships.{relation} is {found}; a list for each of {count} objects is expected"
            )
            continue
        for index, row in enumerate(rows):
            good = isinstance(row, list) and all(_is(one, int) and 0 <= one < count for one in row)
            if not good or len(set(row)) != len(row) or index in row:
                problems.append(
                    f"relationships.{relation}[{index}] is {_short(row)}; "
                    f"different indices of other objects, 0 to {count - 1}, are expected"
                )
    return problems


def _denied_relations(scene: Mapping[str, Any]) -> list[str]:
    problems = []
    places = [thing["3d_coords"] for thing in scene["objects"]]
    for relation in RELATIONS:
        x, y, z = scene["directions"][relation]
        # The offset of one place from another along a direction is the difference of two numbers.
        along = [place[0] * x + place[1] * y + place[2] * z for place in places]
        for index, (row, origin) in enumerate(zip(scene["relationships"][relation], along, strict=True)):
            expected = {other for other, one in enumerate(along) if one - origin > EPSILON and other != index}
            wrong = expected.symmetric_difference(row)
            if any(abs(along[other] - origin - EPSILON) > ROUNDING for other in wrong):
                problems.append(
                    f"relationships.{relation}[{index}] is {sorted(row)}, but 3d_coords and directions "
                    f"give {sorted(expected)}"
                )
    return problems


_NAMES = {str: "text", int: "a whole number"}


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all((_is(one, int) or _is(one, float)) and math.isfinite(one) for one in value)
    )


def _kind(value: Any) -> str:
    names = {dict: "a JSON object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shown(table: Mapping[str, Any], name: str) -> str:
    return _short(table[name]) if name in table else "missing"
