"""What the parameters of a template's node can be in a world, with what the node then gives.

A description is a value of each attribute, "" where it leaves one out. Which descriptions are tried is
the public generator's choice, with one difference: descriptions that fit nothing, which make "no" and 0
possible, name as many attributes as those that fit something, so that a question's length tells nothing.
"""

from __future__ import annotations

from itertools import product

from hacore_clevr.domain import ATTRIBUTES, RELATIONS
from hacore_clevr.generate.stream import Stream
from hacore_clevr.programs import World

Choice = tuple[tuple[str, ...], int]
"""Constants of a node, and the set of objects that fit."""

_VALUES = tuple(ATTRIBUTES.values())


class Choices:
    """The choices of one world; they are computed once and kept.

    ``ending`` is that of a composite: "" (a set that is not empty), "_unique" (one object), "_count" or
    "_exist" (any set). ``silent`` says of each attribute whether it must be left out.
    """

    def __init__(self, world: World, stream: Stream) -> None:
        self.world = world
        self._stream = stream
        self._kept: dict[tuple[object, ...], list[Choice]] = {}
        fits: dict[tuple[str, ...], int] = {}
        self._having = {value: fit for sets in world.with_value.values() for value, fit in sets.items()}
        rows = zip(*(world.values[name] for name in ATTRIBUTES), strict=True)
        for index, row in enumerate(rows):
            bit = 1 << index
            for description in product(*[(value, "") for value in row]):
                fits[description] = fits.get(description, 0) | bit
        self._fits = list(fits.items())

    def filters(self, objects: int, ending: str, silent: tuple[bool, ...]) -> list[Choice]:
        """Descriptions of some of these objects."""
        key = (objects, ending, silent)
        if key not in self._kept:
            self._kept[key] = self._filters(objects, ending, silent)
        return self._kept[key]

    def _filters(self, objects: int, ending: str, silent: tuple[bool, ...]) -> list[Choice]:
        choices = [(description, fit & objects) for description, fit in self._spoken(silent)]
        if ending == "_unique":
            return [one for one in choices if one[1] and not one[1] & (one[1] - 1)]
        some = [one for one in choices if one[1]]
        if ending == "":
            return [one for one in some if any(one[0])]
        single = sum(not fit & (fit - 1) for _, fit in some)
        if ending == "_exist" and objects == self.world.everything:
            some = [one for one in some if any(one[0])]  # every scene has a thing of some kind
        none = [one for one in choices if not one[1]]
        wanted = len(some) if ending == "_exist" else single
        return some + self._unfit(objects, some, none, wanted)

    def _unfit(self, objects: int, some: list[Choice], none: list[Choice], wanted: int) -> list[Choice]:
        """Descriptions that fit none of the objects: first of other objects, then invented ones."""
        if len(none) >= wanted:
            self._stream.shuffle(none)
            return none[:wanted]
        known = {description for description, _ in none}
        for _ in range(2 * (wanted - len(none)) if some else 0):
            pattern = self._stream.choice(some)[0]
            description = tuple(
                [
                    self._stream.choice(values) if word else ""
                    for word, values in zip(pattern, _VALUES, strict=True)
                ]
            )
            fit = objects
            for value in description:
                fit &= self._having[value] if value else fit
            if not fit and description not in known:
                known.add(description)
                none.append((description, 0))
        return none

    def relate_filters(self, origin: int, ending: str, silent: tuple[bool, ...]) -> list[Choice]:
        """Relations to an object, each with descriptions of objects in that relation.

        Only those for which the relation matters: some object outside of it fits the description.
        """
        key = (origin, ending, silent, "relate")
        if key not in self._kept:
            self._kept[key] = self._relate_filters(origin, ending, silent)
        return self._kept[key]

    def _relate_filters(self, origin: int, ending: str, silent: tuple[bool, ...]) -> list[Choice]:
        spoken = self._spoken(silent)
        choices = []
        for relation in RELATIONS:
            related = self.world.related[relation][origin]
            if ending == "_unique":
                choices += [
                    ((relation, *description), both)
                    for description, fit in spoken
                    if (both := fit & related) and both != fit and not both & (both - 1)
                ]
            else:
                choices += [
                    ((relation, *description), fit & related)
                    for description, fit in spoken
                    if fit & related != fit and (ending or fit & related)
                ]
        return choices

    def values(self, objects: int, attribute: str) -> list[Choice]:
        """Values of one attribute, and which of the objects have it."""
        return [((value,), objects & self._having[value]) for value in ATTRIBUTES[attribute]]

    def relations(self, origin: int) -> list[Choice]:
        """Relations to an object."""
        return [((relation,), self.world.related[relation][origin]) for relation in RELATIONS]

    def _spoken(self, silent: tuple[bool, ...]) -> list[Choice]:
        """All descriptions of objects of the world that leave out what must be left out."""
        key = ("spoken", silent)
        if key not in self._kept:
            positions = [place for place, left_out in enumerate(silent) if left_out]
            self._kept[key] = [
                one for one in self._fits if not any(one[0][position] for position in positions)
            ]
        return self._kept[key]
