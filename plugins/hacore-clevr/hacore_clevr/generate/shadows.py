"""How much of each light reaches a point: soft shadows and the sky's dimming near objects, without noise.

For each pair of a point and an occluder, the *gap* is how far the line from the point to the light passes
the object by, negative where it passes through. The gap over the breadth of the light's cone at the
occluder says how much of the light is hidden. Of several occluders the one that hides most counts: a
minimum does not depend on the order of the pairs.

Lights are above all objects, so that whatever hides a light from a point is higher than the point:
objects are cut off at its height. Letters: R points or pairs, B objects, C pairs.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from hacore_clevr.domain import RADIUS, SHAPES
from hacore_clevr.generate.raster import Boxes, Size, bounds, by_shape, corners, screen_boxes
from hacore_clevr.generate.stage import Stage
from hacore_clevr.generate.vectors import Vec, smooth

CLEAR = 1e3
"""A gap wider than any light."""
SHARPEST = 0.04
"""Half width of the narrowest edge of a shadow, in world units; about a pixel of a small picture."""

SKY_RANGE = 3.5
"""How far from its centre an object dims the sky, in its half heights."""
SKY_DIMMING = 0.9


def gap_cube(offset: Vec, light: Vec, half: Tensor, rise: Tensor) -> Tensor:
    """By the axes that can separate a line from a box: those across the line and one edge.

    offset: from the point to the middle of what is left of the cube above it. light: unit. half: half
    side. rise: half of the height that is left. All in the cube's frame; exact at the border, and too
    small by a little outside corners.
    """
    x, y, z = light.x.abs(), light.y.abs(), light.z.abs()

    def separation(distance: Tensor, extent: Tensor, length: Tensor) -> Tensor:
        # Along the line itself nothing separates.
        return torch.where(length > 1e-4, (distance.abs() - extent) / length.clamp(min=1e-4), -CLEAR)

    along_x = separation(offset.y * light.z - offset.z * light.y, half * z + rise * y, (y * y + z * z).sqrt())
    along_y = separation(offset.x * light.z - offset.z * light.x, half * z + rise * x, (x * x + z * z).sqrt())
    along_z = separation(offset.x * light.y - offset.y * light.x, half * (x + y), (x * x + y * y).sqrt())
    return torch.maximum(torch.maximum(along_x, along_y), along_z)


def gap_cylinder(offset: Vec, light: Vec, radius: Tensor, rise: Tensor) -> Tensor:
    """Of the disc and the line's part between the point's height and the cap, both seen from above."""
    square = (light.x * light.x + light.y * light.y).clamp(min=1e-12)
    end = 2 * rise / light.z
    nearest = ((offset.x * light.x + offset.y * light.y) / square).clamp(min=0).minimum(end)
    x, y = offset.x - nearest * light.x, offset.y - nearest * light.y
    return (x * x + y * y).sqrt() - radius


def gap_sphere(offset: Vec, light: Vec, radius: Tensor) -> Tensor:
    """offset: to the centre; nothing is hidden by what lies behind the point."""
    along = offset.dot(light)
    passed = (offset - light * along).length() - radius
    return torch.where(along > 0, passed, CLEAR)


def gaps(stage: Stage, shape: int, points: Vec, light: Vec, object_R: Tensor) -> Tensor:
    """Of pairs with objects of one shape; light: unit vectors from the points, upwards."""
    half = stage.half_B.index_select(0, object_R)
    offset, direction = stage.local(points, light, object_R)
    offset = offset * -1.0
    if SHAPES[shape] == "sphere":
        return gap_sphere(offset, direction, half)
    rise = (offset.z + half) / 2
    rest = Vec(offset.x, offset.y, rise)
    gap = (gap_cube if SHAPES[shape] == "cube" else gap_cylinder)(rest, direction, half, rise.clamp(min=0))
    return torch.where(rise > 1e-4, gap, CLEAR)


def seen_light(
    stage: Stage, light: Vec, radius: float, shape: int, points: Vec, image_R: Tensor, object_R: Tensor
) -> Tensor:
    """Share of a spherical light of this radius that each pair's object leaves to the point, in [0, 1]."""
    offset = light.take(image_R) - points
    distance = offset.length()
    direction = offset * (1 / distance)
    gap = gaps(stage, shape, points, direction, object_R)
    to_object = (stage.center.take(object_R) - points).dot(direction).clamp(min=0)
    cone = (radius * to_object / distance).clamp(min=SHARPEST)
    return smooth((gap / cone + 1) / 2)


def seen_sky(stage: Stage, points: Vec, normals: Vec, object_R: Tensor) -> Tensor:
    """Share of the sky that each pair's object leaves: the object as a ball, as seen from the surface."""
    offset = stage.center.take(object_R) - points
    half = stage.half_B.index_select(0, object_R)
    square = offset.dot(offset)
    ball = offset.dot(normals).clamp(min=0) * (half * half) / (square * square.sqrt()).clamp(min=1e-6)
    range_left = 1 - square / (SKY_RANGE * SKY_RANGE * half * half)
    return 1 - SKY_DIMMING * ball.clamp(max=1) * range_left.clamp(min=0)


def light_boxes(stage: Stage, light: Vec, radius: float, size: Size) -> Boxes:
    """Pixels in which an object can hide the light: between itself and its shadow on the ground."""
    lamp = light.take(stage.image_B)
    # A ray from the ground passes an object at no more than this part of its way, where its cone is.
    grown = (3 * stage.half_B / lamp.z * radius).clamp(min=SHARPEST)
    near = bounds(stage, grown)
    stretch = lamp.z / (lamp.z - near.z).clamp(min=1e-2)
    far = Vec(
        lamp.x + (near.x - lamp.x) * stretch, lamp.y + (near.y - lamp.y) * stretch, torch.zeros_like(near.z)
    )
    both = Vec(*(torch.cat(pair) for pair in ((near.x, far.x), (near.y, far.y), (near.z, far.z))))
    return screen_boxes(stage, both, size)


def sky_boxes(stage: Stage, size: Size) -> Boxes:
    """Pixels in which an object dims the sky."""
    center, reach = stage.center, SKY_RANGE * stage.half_B
    low = Vec(center.x - reach, center.y - reach, torch.zeros_like(reach))
    high = Vec(center.x + reach, center.y + reach, torch.full_like(reach, 2 * max(RADIUS)))
    return screen_boxes(stage, corners(low, high), size)


@attrs.frozen(kw_only=True, eq=False)
class Pairs:
    """Which objects may hide light from which points.

    point_C: rows of the points; object_C: rows of the objects; int64.
    """

    point_C: Tensor
    object_C: Tensor

    def others(self, own_R: Tensor) -> Pairs:
        """Without the object on which each point lies: a convex one hides nothing from itself."""
        kept = (own_R.index_select(0, self.point_C) != self.object_C).nonzero().squeeze(1)
        return Pairs(point_C=self.point_C.index_select(0, kept), object_C=self.object_C.index_select(0, kept))


def light_reaching(
    stage: Stage, light: Vec, radius: float, points: Vec, image_R: Tensor, pairs: Pairs
) -> Tensor:
    """(R,) shares of a light that reach points, whatever the order of the pairs."""
    share = torch.ones_like(points.x)
    for shape, chosen in enumerate(by_shape(stage, pairs.object_C)):
        row, owner = pairs.point_C.index_select(0, chosen), pairs.object_C.index_select(0, chosen)
        fraction = seen_light(
            stage, light, radius, shape, points.take(row), image_R.index_select(0, row), owner
        )
        share.scatter_reduce_(0, row, fraction, "amin")
    return share


def sky_reaching(stage: Stage, points: Vec, normals: Vec, pairs: Pairs) -> Tensor:
    """(R,) shares of the sky that reach points, whatever the order of the pairs."""
    row = pairs.point_C
    fraction = seen_sky(stage, points.take(row), normals.take(row), pairs.object_C)
    return torch.ones_like(points.x).scatter_reduce_(0, row, fraction, "amin")
