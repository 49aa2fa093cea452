"""Vectors of three whose coordinates are tensors of their own, any shape, the same for all three.

Arithmetic is written out, one coordinate after the other: every result is that of IEEE additions,
multiplications, divisions and square roots in this order, so that a ray's value does not depend on how
many rays are computed with it.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class Vec:
    """x, y, z: tensors of one shape."""

    x: Tensor
    y: Tensor
    z: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.x, self.y, self.z

    def __add__(self, other: Vec) -> Vec:
        return Vec(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other: Vec) -> Vec:
        return Vec(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, factor: Tensor | float) -> Vec:
        """By a number, or by one number for each vector."""
        return Vec(self.x * factor, self.y * factor, self.z * factor)

    def scaled(self, other: Vec) -> Vec:
        """Coordinate by coordinate."""
        return Vec(self.x * other.x, self.y * other.y, self.z * other.z)

    def dot(self, other: Vec) -> Tensor:
        return self.x * other.x + self.y * other.y + self.z * other.z

    def length(self) -> Tensor:
        return self.dot(self).sqrt()

    def unit(self) -> Vec:
        """Of length one; the null vector stays."""
        return self * (1 / self.length().clamp(min=1e-12))

    def take(self, index: Tensor) -> Vec:
        """Rows, by int64 indices."""
        return Vec(*(part.index_select(0, index) for part in (self.x, self.y, self.z)))

    def put(self, index: Tensor, rows: Vec) -> None:
        """Writes rows in place."""
        for part, new in zip((self.x, self.y, self.z), (rows.x, rows.y, rows.z), strict=True):
            part.index_copy_(0, index, new)

    def turned(self, cos: Tensor, sin: Tensor) -> Vec:
        """Rotated about z."""
        return Vec(cos * self.x - sin * self.y, sin * self.x + cos * self.y, self.z)

    def where(self, chosen: Tensor, other: Vec) -> Vec:
        """These where chosen, others elsewhere."""
        return Vec(
            torch.where(chosen, self.x, other.x),
            torch.where(chosen, self.y, other.y),
            torch.where(chosen, self.z, other.z),
        )


def constant(parts: tuple[float, float, float], like: Tensor) -> Vec:
    """The same vector in every row."""
    nothing = torch.zeros_like(like)
    return Vec(*(nothing + part for part in parts))


def colored(color: tuple[float, float, float], amount: Tensor) -> Vec:
    """A color in different amounts."""
    return Vec(*(amount * part for part in color))


def mirrored(direction: Vec, normal: Vec) -> Vec:
    """A direction after reflection at a surface with this unit normal."""
    return direction - normal * (2 * direction.dot(normal))


def smooth(value: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and without a corner in between."""
    inside = value.clamp(0, 1)
    return inside * inside * (3 - 2 * inside)
