"""Rays and shapes: where a ray first meets a sphere, a cube or an upright cylinder, and the normal there.

All functions work on R rays at once, origins and directions in the shape's own frame: its centre is the
origin and a cube's faces look along the axes. All three shapes are convex: a ray is inside between a near
and a far distance, and an intersection of slabs is an intersection of such intervals. Distances are in
lengths of the direction vector, which need not be one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hacore_clevr.domain import SHAPES
from hacore_clevr.generate.vectors import Vec

MISS = float("inf")
TINY = 1e-9
CUBE_BEVEL, CYLINDER_BEVEL = 0.178, 0.0447
"""Width of the rounding at the edges of cubes and of cylinders, in half sides."""
CUT = 2 - CUBE_BEVEL * (2 - 2**0.5)
"""Planes across a cube's edges touch its rounding: two coordinates have this sum there, in half sides."""

Hit = tuple[Tensor, Tensor]
"""Distance of the first point in front of the origin, inf for none (R); the face there, int64 (R)."""


def _slab(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Near and far distance of a ray between two planes at -half and half."""
    safe = torch.where(direction.abs() < TINY, TINY, direction)
    middle, reach = -origin / safe, half / safe.abs()
    return middle - reach, middle + reach


def _first(near: Tensor, far: Tensor) -> Tensor:
    return torch.where((near < far) & (near > 0), near, MISS)


def hit_cube(origin: Vec, direction: Vec, half: Tensor) -> Hit:
    """Edges are cut off as far as they are rounded. Faces: 0, 1, 2 for those across x, y, z; on a
    cut, the one whose plane the ray crossed last."""
    near_x, far_x = _slab(origin.x, direction.x, half)
    near_y, far_y = _slab(origin.y, direction.y, half)
    near_z, far_z = _slab(origin.z, direction.z, half)
    sides = torch.maximum(near_x, near_y)
    near = torch.maximum(sides, near_z)
    far = torch.minimum(torch.minimum(far_x, far_y), far_z)
    face = torch.where(near_z > sides, 2, (near_y > near_x).long())
    for one, other in (("x", "y"), ("x", "z"), ("y", "z")):
        places, ways = (tuple(getattr(vec, axis) for axis in (one, other)) for vec in (origin, direction))
        for sign in (1, -1):
            cut_near, cut_far = _slab(places[0] + sign * places[1], ways[0] + sign * ways[1], half * CUT)
            near, far = torch.maximum(near, cut_near), torch.minimum(far, cut_far)
    return _first(near, far), face


def hit_sphere(origin: Vec, direction: Vec, radius: Tensor) -> Hit:
    """One face.

    From the point of the ray nearest to the centre, which keeps float32 exact far away; see Haines et
    al., *Precision Improvements for Ray/Sphere Intersection*, Ray Tracing Gems, 2019.
    """
    square = direction.dot(direction)
    middle = -origin.dot(direction) / square
    nearest = origin + direction * middle
    reach = ((radius * radius - nearest.dot(nearest)) / square).clamp(min=0).sqrt()
    return _first(middle - reach, middle + reach), torch.zeros_like(square, dtype=torch.int64)


def hit_cylinder(origin: Vec, direction: Vec, radius: Tensor) -> Hit:
    """As high as it is wide. Faces: 0 the side, 1 the caps."""
    square = (direction.x * direction.x + direction.y * direction.y).clamp(min=TINY)
    middle = -(origin.x * direction.x + origin.y * direction.y) / square
    x, y = origin.x + middle * direction.x, origin.y + middle * direction.y
    left = (radius * radius - x * x - y * y) / square
    reach = left.clamp(min=0).sqrt()
    # A ray that passes the side by is given an empty interval.
    near, far = middle - reach, torch.where(left > 0, middle + reach, -MISS)
    near_z, far_z = _slab(origin.z, direction.z, radius)
    hit = _first(torch.maximum(near, near_z), torch.minimum(far, far_z))
    return hit, (near_z > near).long()


def _over(value: Tensor, half: Tensor, bevel: float) -> Tensor:
    """How far a coordinate is in the rounding of an edge, with its sign."""
    return value - value.clamp(min=-half * (1 - bevel), max=half * (1 - bevel))


def normal_cube(point: Vec, half: Tensor) -> Vec:
    return Vec(*(_over(part, half, CUBE_BEVEL) for part in point.parts)).unit()


def normal_sphere(point: Vec, radius: Tensor) -> Vec:
    return point.unit()


def normal_cylinder(point: Vec, radius: Tensor) -> Vec:
    ring = (point.x * point.x + point.y * point.y).sqrt().clamp(min=TINY)
    outward = _over(ring, radius, CYLINDER_BEVEL) / ring
    return Vec(point.x * outward, point.y * outward, _over(point.z, radius, CYLINDER_BEVEL)).unit()


HITS: tuple[Callable[[Vec, Vec, Tensor], Hit], ...] = (hit_cube, hit_sphere, hit_cylinder)
NORMALS: tuple[Callable[[Vec, Tensor], Vec], ...] = (normal_cube, normal_sphere, normal_cylinder)
"""Both by index into ``hacore_clevr.domain.SHAPES``."""
assert SHAPES == ("cube", "sphere", "cylinder")
