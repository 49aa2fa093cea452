"""The camera: where it stands, what it sees, and the directions of all scenes.

A 35 mm lens before a 32 mm wide sensor, which looks at the middle of the ground plane from a place that
differs from scene to scene. The field of view is that of the official 480x320 picture at any size: other
sizes squeeze the picture as resizing would. World coordinates are right-handed with z up; the ground is
z = 0. Letters: I scenes, O objects.

Source: the image generator of Johnson et al. 2017, arXiv 1612.06890. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POSITION = (7.4811, -6.5076, 5.3437)
JITTER = 0.5
"""Each coordinate of the position is moved by up to this much, either way."""

WIDTH, HEIGHT = 480, 320
"""Of the official picture, in pixels; pixel coordinates of scenes are in these."""

TAN_X = 16 / 35
TAN_Y = TAN_X * HEIGHT / WIDTH
"""Tangents of half the field of view."""


@attrs.frozen(kw_only=True, eq=False)
class Axes:
    """Unit vectors of the cameras of I scenes, each (I, 3), in world coordinates."""

    right_I3: Floats
    up_I3: Floats
    forward_I3: Floats


def axes(position_I3: Floats) -> Axes:
    """(I, 3) positions -> axes of cameras there that look at the origin, upright."""
    x, y, z = position_I3.T
    ground, distance = np.sqrt(x * x + y * y), np.sqrt(x * x + y * y + z * z)
    forward = np.stack([-x / distance, -y / distance, -z / distance], -1)
    right = np.stack([-y / ground, x / ground, np.zeros_like(x)], -1)
    slope = z / distance
    up = np.stack([-x / ground * slope, -y / ground * slope, ground / distance], -1)
    return Axes(right_I3=right, up_I3=up, forward_I3=forward)


def directions() -> dict[str, list[float]]:
    """The six directions of every scene: on the ground, as the camera that is not moved sees them.

    So it is in all official scenes: left and right, front and behind do not turn with a camera's jitter.
    """
    x, y, _ = POSITION
    ground = math.hypot(x, y)
    right, behind = (-y / ground, x / ground), (-x / ground, -y / ground)
    named = {
        "left": [-right[0], -right[1], 0.0],
        "right": [*right, 0.0],
        "front": [-behind[0], -behind[1], 0.0],
        "behind": [*behind, 0.0],
    }
    return {**named, "above": [0.0, 0.0, 1.0], "below": [0.0, 0.0, -1.0]}


def project(points_IO3: Floats, position_I3: Floats) -> Floats:
    """(I, O, 3) points, (I, 3) camera positions -> (I, O, 3): x, y in official pixels, depth.

    x is to the right and y down from the picture's top left corner; depth is along the camera's axis, in
    world units.
    """
    frame = axes(position_I3)
    offset = points_IO3 - position_I3[:, None]

    def along(axis_I3: Floats) -> Floats:
        x, y, z = (axis_I3[:, None, i] for i in range(3))
        return np.asarray(offset[..., 0] * x + offset[..., 1] * y + offset[..., 2] * z)

    depth = along(frame.forward_I3)
    x = (along(frame.right_I3) / depth / TAN_X + 1) / 2 * WIDTH
    y = (1 - along(frame.up_I3) / depth / TAN_Y) / 2 * HEIGHT
    return np.stack([x, y, depth], -1)


def relationships(coords: Any, directions: Mapping[str, Any], eps: float = 0.2) -> dict[str, list[list[int]]]:
    """(O, 3) coordinates, directions by name -> for each relation, the related objects of each object.

    ``relationships(...)["left"][i]`` lists, in order, the objects j that are left of object i: those for
    which the offset from i to j has a dot product with the direction above ``eps``. Above and below are
    not relations.
    """
    coords_O3 = np.asarray(coords, np.float64).reshape(-1, 3)
    x, y, z = (coords_O3[None, :, i] - coords_O3[:, None, i] for i in range(3))
    related = {}
    for name, direction in directions.items():
        if name not in ("above", "below"):
            beyond = x * direction[0] + y * direction[1] + z * direction[2] > eps
            related[name] = [np.flatnonzero(row).tolist() for row in beyond]
    return related
