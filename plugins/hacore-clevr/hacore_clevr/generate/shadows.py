"""How much of each light reaches a point: soft shadows and the sky's dimming near objects, without noise.

For each pair of a point and an occluder, the *gap* is how far the line from the point to the light passes
the object by, negative where it passes through. The gap over the breadth of the light's cone at the
occluder says how much of the light is hidden. Of several occluders the one that hides most counts: a
minimum does not depend on the order of the pairs.

Lights are above all objects, so that whatever hides a light from a point is higher than the point:
objects are cut off at its height. Letters: R points or pairs, B objects, C pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hacore_clevr.domain import SHAPES
from hacore_clevr.generate.lamps import LAMPS, SUN, Ray, ray_to
from hacore_clevr.generate.look import SKY_DIMMING
from hacore_clevr.generate.raster import Boxes, Size, bounds, by_shape, screen_boxes
from hacore_clevr.generate.stage import EMPTY, Stage
from hacore_clevr.generate.vectors import Vec, smooth

CLEAR = 1e3
"""A gap wider than any light."""
SHARPEST = 0.04
"""Half width of the narrowest edge of a shadow, in world units; about a pixel of a small picture."""


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


def seen_light(stage: Stage, shape: int, radius: float, points: Vec, ray: Ray, object_R: Tensor) -> Tensor:
    """Share of a lamp of this radius that each pair's object leaves to the point, in [0, 1]."""
    gap = gaps(stage, shape, points, ray.toward, object_R)
    to_object = (stage.center.take(object_R) - points).dot(ray.toward).clamp(min=0)
    cone = (radius * to_object / ray.distance).clamp(min=SHARPEST)
    return smooth((gap / cone + 1) / 2)


def open_sky(stage: Stage, points: Vec, normals: Vec, image_R: Tensor, own_R: Tensor) -> Tensor:
    """(R,) shares of the sky that the objects of the scene leave: as balls, the own one apart."""

    def across(table_B: Tensor) -> Tensor:
        return table_B.view(stage.scenes, stage.places).T.contiguous().index_select(1, image_R)

    x, y, z = (across(center) - point for center, point in zip(stage.center.parts, points.parts, strict=True))
    square = (x * x + y * y + z * z).clamp(min=1e-6)
    level = x * normals.x + y * normals.y + z * normals.z
    # How much of the half space a ball takes, by the cosine and the square of its angle.
    ball_OR = (level.clamp(min=0) * across(stage.ball_B) / (square * square.sqrt())).clamp(max=1)
    first_R = image_R * stage.places
    hidden = torch.zeros_like(points.x)
    for place, ball in enumerate(ball_OR):
        hidden = hidden + ball * (own_R != first_R + place)
    return 1 / (1 + SKY_DIMMING * hidden)


def light_boxes(stage: Stage, lamp: int, size: Size) -> Boxes:
    """Pixels in which an object can hide a lamp from the ground: between itself and its shadow."""
    radius = LAMPS[lamp].radius
    if LAMPS[lamp].axis is None:
        grown = (3 * stage.half_B * radius).clamp(min=SHARPEST)
        near = bounds(stage, grown)
        east, north, up = SUN
        x, y = near.x - near.z * (east / up), near.y - near.z * (north / up)
    else:
        place = stage.lights[lamp].take(stage.image_B)
        # A ray from the ground passes an object at no more than this part of its way, where its cone is.
        grown = (3 * stage.half_B / place.z * radius).clamp(min=SHARPEST)
        near = bounds(stage, grown)
        stretch = place.z / (place.z - near.z).clamp(min=1e-2)
        x, y = place.x + (near.x - place.x) * stretch, place.y + (near.y - place.y) * stretch
    far = Vec(x, y, torch.zeros_like(near.z))
    both = Vec(*(torch.cat(pair) for pair in zip(near.parts, far.parts, strict=True)))
    return screen_boxes(stage, both, size)


def possible(stage: Stage, lamp: int) -> Tensor:
    """(B, O) bool: which objects of its scene can hide a lamp from some point of an object."""
    scenes, places = stage.scenes, stage.places
    # Balls around both decide.
    own = torch.arange(scenes * places, device=stage.device).repeat_interleave(places)
    other = (stage.image_B[:, None] * places + torch.arange(places, device=stage.device)).flatten()
    start, reach = stage.center.take(own), stage.reach_of(own) + stage.reach_of(other)
    ray = ray_to(stage, lamp, start, stage.image_B.index_select(0, own))
    offset = stage.center.take(other) - start
    along = offset.dot(ray.toward).clamp(min=0)
    aside = (offset - ray.toward * along).length()
    cone = (LAMPS[lamp].radius * along / ray.distance).clamp(min=SHARPEST)
    there = (stage.shape_B.index_select(0, other) != EMPTY) & (own != other)
    # Twice the cone, as gaps of cubes are a little too small outside corners.
    return ((aside < reach + 2 * cone) & there).view(-1, places)


Pairs = Sequence[tuple[Tensor, Tensor]]
"""For each shape, which objects of it may hide light from which points: point_C and object_C, rows, int64."""


def pairs_of(stage: Stage, image_R: Tensor, asked_RO: Tensor) -> Pairs:
    """The pairs of points with those places of their scenes that are true."""
    point_C, place_C = asked_RO.nonzero().unbind(1)
    object_C = image_R.index_select(0, point_C) * stage.places + place_C
    return [
        (point_C.index_select(0, rows), object_C.index_select(0, rows)) for rows in by_shape(stage, object_C)
    ]


def others(stage: Stage, image_R: Tensor, own_R: Tensor) -> Pairs:
    """Points with all objects of their scenes but the own one."""
    there_IO = (stage.shape_B != EMPTY).view(stage.scenes, stage.places)
    place_O = image_R[:, None] * stage.places + torch.arange(stage.places, device=stage.device)
    return pairs_of(stage, image_R, there_IO.index_select(0, image_R) & (place_O != own_R[:, None]))


def light_reaching(stage: Stage, lamp: int, points: Vec, ray: Ray, pairs: Pairs) -> Tensor:
    """(R,) shares of a lamp that reach points, whatever the order of the pairs."""
    share = torch.ones_like(points.x)
    for shape, (row, owner) in enumerate(pairs):
        fraction = seen_light(stage, shape, LAMPS[lamp].radius, points.take(row), ray.take(row), owner)
        share = share.scatter_reduce(0, row, fraction, "amin")
    return share
