"""Surfaces that rays meet: where, with which normal, and what mirrored rays meet next.

Letters: R rays, C pairs of a ray and an object.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from hacore_clevr.domain import SHAPES
from hacore_clevr.generate.raster import GROUND, make_keys, place_of
from hacore_clevr.generate.shadows import others
from hacore_clevr.generate.stage import Stage
from hacore_clevr.generate.vectors import Vec

FLAT = -1e-3
"""Rays that fall less than this, by unit of length, are not followed to the ground."""


@attrs.frozen(kw_only=True, eq=False)
class Surface:
    """R points to be shaded: place, unit normal, scene, and row of the object, -1 for the ground."""

    points: Vec
    normals: Vec
    image_R: Tensor
    own_R: Tensor

    def take(self, rows: Tensor) -> Surface:
        """Some of the points."""
        return Surface(
            points=self.points.take(rows),
            normals=self.normals.take(rows),
            image_R=self.image_R.index_select(0, rows),
            own_R=self.own_R.index_select(0, rows),
        )


def bounce(stage: Stage, surface: Surface, direction: Vec) -> tuple[Surface, Tensor]:
    """Where rays from points meet a surface again: the surface, and (R,) whether there is any."""
    places = stage.places
    keys = torch.full_like(surface.image_R, GROUND)
    for shape, (row, owner) in enumerate(others(stage, surface.image_R, surface.own_R)):
        distance, face = stage.hits(shape, surface.points.take(row), direction.take(row), owner)
        keys.scatter_reduce_(0, row, make_keys(distance, face, owner % places), "amin")
    place = place_of(keys)
    own = torch.where(place < 0, -1, surface.image_R * places + place)
    met = locate(stage, surface.points, direction, surface.image_R, own)
    return met, (own >= 0) | (direction.z < FLAT)


def locate(stage: Stage, origin: Vec, direction: Vec, image_R: Tensor, own_R: Tensor) -> Surface:
    """Points and normals on the object, or the ground, that each ray is known to meet."""
    down = -origin.z / torch.where(direction.z < FLAT, direction.z, FLAT)
    points = origin + direction * down
    normals = Vec(torch.zeros_like(down), torch.zeros_like(down), torch.ones_like(down))
    rows = (own_R >= 0).nonzero().squeeze(1)
    shape_R = stage.shape_B.index_select(0, own_R.index_select(0, rows))
    for shape in range(len(SHAPES)):
        row = rows.index_select(0, (shape_R == shape).nonzero().squeeze(1))
        owner, start, along = own_R.index_select(0, row), origin.take(row), direction.take(row)
        distance, _ = stage.hits(shape, start, along, owner)
        # A ray along an outline may be a miss by rounding; its point is then as far as the centre.
        level = (stage.center.take(owner) - start).dot(along) / along.dot(along)
        met = start + along * torch.where(distance < torch.inf, distance, level)
        points.put(row, met)
        normals.put(row, stage.normals(shape, met, owner))
    return Surface(points=points, normals=normals, image_R=image_R, own_R=own_R)
