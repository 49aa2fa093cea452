"""Where the objects of a scene lie in its picture, and which of them a program is about.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.machine.texts import composed
from hacore_clevr.camera import HEIGHT, TAN_X, TAN_Y, WIDTH
from hacore_clevr.domain import ATTRIBUTES, RADIUS, SIZES
from hacore_clevr.programs import (
    FUNCTIONS,
    OBJECT,
    OBJECTS,
    ProgramError,
    World,
    function_of,
    plain_program,
    steps,
)

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What reading a scene of other fields, or of other numbers, raises."""
UNKNOWN = -1
"""Stands for an unknown set of a question's objects."""

_REACH = {"sphere": (1.0, 1.0), "cylinder": (1.0, 1.4), "cube": (1.3, 1.5)}
"""How far an object reaches from its middle across and down the picture, in radii, seen from where CLEVR's
camera stands; of cubes the mean over their turns."""

_PASSES_ON = ("filter_", "union", "intersect")
"""Prefixes of functions that only narrow or join sets: their inputs are not yet what is meant."""


@attrs.frozen(kw_only=True)
class Scenes:
    """The scenes of a split's pictures, by the name of the picture, its accents composed."""

    worlds: Mapping[str, World]
    boxes: Mapping[str, npt.NDArray[np.float32]]

    @classmethod
    def read(cls, scenes: Iterable[Any]) -> Scenes:
        """From records of the official format; invalid ones are left out; ``verify`` reports them."""
        worlds, boxes = {}, {}
        for scene in scenes:
            try:
                name = composed(str(scene["image_filename"]))
                world, its_boxes = World.from_scene(scene), object_boxes(scene)
            except MALFORMED:
                continue
            worlds[name], boxes[name] = world, its_boxes
        return cls(worlds=worlds, boxes=boxes)

    def relevant(self, record: Mapping[str, Any]) -> int:
        """The set of objects that a question is about, one bit an object, or ``UNKNOWN``."""
        world, program = self.worlds.get(composed(str(record.get("image_filename")))), record.get("program")
        if world is None or not isinstance(program, list):
            return UNKNOWN
        try:
            return relevant_objects(program, world)
        except (ProgramError, TypeError, AttributeError, LookupError):
            return UNKNOWN

    def boxes_of(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """(I, O, 4) boxes of pictures, in order; NaN where a picture has fewer objects."""
        names = [composed(name) for name in names]
        most = max((len(self.boxes[name]) for name in names if name in self.boxes), default=0)
        table = np.full((len(names), most, 4), np.nan, np.float32)
        for row, name in enumerate(names):
            if name in self.boxes:
                table[row, : len(self.boxes[name])] = self.boxes[name]
        return table

    def attributes_of(self, names: Sequence[str]) -> npt.NDArray[np.int8]:
        """(I, O, 4) which value of ``domain.ATTRIBUTES`` each object of ``boxes_of`` has, -1: none."""
        names = [composed(name) for name in names]
        most = max((self.worlds[name].objects for name in names if name in self.worlds), default=0)
        table = np.full((len(names), most, len(ATTRIBUTES)), UNKNOWN, np.int8)
        for row, name in enumerate(names):
            if name in self.worlds:
                for place, (attribute, allowed) in enumerate(ATTRIBUTES.items()):
                    values = self.worlds[name].values[attribute]
                    table[row, : len(values), place] = [allowed.index(value) for value in values]
        return table


def object_boxes(scene: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """(O, 4): left, top, right and bottom of each object of an official scene, as shares of the picture.

    About ``pixel_coords``, whose third number is the depth, as far as an object of that size and shape
    reaches there; a corner of a cube may stand out a little.
    """
    rows = []
    for thing in scene["objects"]:
        x, y, depth = thing["pixel_coords"]
        radius, (wide, high) = RADIUS[SIZES.index(thing["size"])], _REACH[thing["shape"]]
        across, down = wide * radius / (2 * TAN_X * depth), high * radius / (2 * TAN_Y * depth)
        rows.append([x / WIDTH - across, y / HEIGHT - down, x / WIDTH + across, y / HEIGHT + down])
    boxes_O4 = np.array(rows, np.float64).reshape(-1, 4)
    if not (np.abs(boxes_O4) < 1e6).all():
        raise ValueError("pixel_coords: beyond all pictures")
    return boxes_O4.astype(np.float32)


def relevant_objects(program: Sequence[Mapping[str, Any]], world: World) -> int:
    """The set of objects that a program is about: those it singles out, relates, counts or asks for.

    That is all that goes into a function which neither filters nor joins sets: of "is there a red thing left
    of the cube" the cube, and the red things left of it. Raises ProgramError, which names the node.
    """
    plain = plain_program(program)
    outputs = steps(plain, world)
    relevant = 0
    for node in plain:
        name = function_of(node)
        if name.startswith(_PASSES_ON):
            continue
        for place in node["inputs"]:
            kind = FUNCTIONS[function_of(plain[place])].output
            if kind == OBJECTS:
                relevant |= outputs[place]
            elif kind == OBJECT:
                relevant |= 1 << outputs[place]
    return relevant
