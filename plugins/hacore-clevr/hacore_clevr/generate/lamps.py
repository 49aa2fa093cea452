"""Three lamps that differ from scene to scene, and a sun that does not: where they are and how strong.

Numbers were fitted to original pictures by ``benchmarks/clevr_look.py``; light is linear, in units in which
a patch of the ground shows what reaches it. Powers are products and roots, so that a value does not depend
on what is computed with it. Letters: R points.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from hacore_clevr.generate.stage import Stage
from hacore_clevr.generate.vectors import Vec, constant

Color = tuple[float, float, float]


@attrs.frozen(kw_only=True)
class Lamp:
    """color: of what reaches a surface that faces the lamp, from one unit of length if the lamp has a place.

    axis: where a lamp faces; none for the sun. focus: the cosine to the axis counts to this many quarters.
    radius: of the lamp's ball, or of the sun's disc from one unit of length; it softens shadows.
    disc: what metal mirrors in the lamp's middle. edge: 1 - cosines between which that fades away; with one
    below 0, no direction shows all of it.
    shine: of the halo around it, in what reaches the surface.
    """

    color: Color
    axis: Color | None
    focus: int
    radius: float
    disc: float
    edge: tuple[float, float]
    shine: float


LAMPS = (
    Lamp(
        color=(5.636, 5.232, 4.514),
        axis=(-0.72201, 0.36300, -0.58901),
        focus=6,
        radius=0.358,
        disc=3.7,
        edge=(-0.00237, 0.0115),
        shine=5.77,
    ),
    Lamp(
        color=(1.181, 1.301, 1.636),
        axis=(0.61284, 0.47588, -0.63084),
        focus=7,
        radius=0.454,
        disc=1.71,
        edge=(-0.00389, 0.012),
        shine=7.3,
    ),
    Lamp(
        color=(2.401, 2.388, 2.405),
        axis=(-0.06000, -0.66099, -0.74799),
        focus=2,
        radius=0.828,
        disc=2.97,
        edge=(-0.00187, 0.0147),
        shine=6.58,
    ),
    Lamp(
        color=(0.08589, 0.0859, 0.08525),
        axis=None,
        focus=0,
        radius=0.108,
        disc=3.91,
        edge=(-0.00501, 0.0199),
        shine=5.98,
    ),
)
"""Key, fill, back and sun."""
SUN: Color = (0.41709, -0.18804, 0.88920)
"""Direction to the sun, of length one."""


@attrs.frozen(kw_only=True, eq=False)
class Ray:
    """From R points to a lamp. toward: unit. distance: in units of length. strength: on what faces it."""

    toward: Vec
    distance: Tensor
    strength: Tensor

    def take(self, rows: Tensor) -> Ray:
        """Some of the points."""
        return Ray(
            toward=self.toward.take(rows),
            distance=self.distance.index_select(0, rows),
            strength=self.strength.index_select(0, rows),
        )


def ray_to(stage: Stage, lamp: int, points: Vec, image_R: Tensor) -> Ray:
    """What reaches points that nothing hides."""
    axis = LAMPS[lamp].axis
    if axis is None:
        one = torch.ones_like(points.x)
        return Ray(toward=constant(SUN, one), distance=one, strength=one)
    offset = stage.lights[lamp].take(image_R) - points
    square = offset.dot(offset)
    distance = square.sqrt()
    toward = offset * (1 / distance)
    x, y, z = axis
    cosine = -(toward.x * x + toward.y * y + toward.z * z)
    return Ray(toward=toward, distance=distance, strength=_focused(cosine, LAMPS[lamp].focus) / square)


def _focused(cosine: Tensor, quarters: int) -> Tensor:
    """A power of cosines, 0 behind the lamp."""
    # A little above 0, where the root has no slope, for those who fit.
    cosine = cosine.clamp(min=1e-6)
    root = cosine.sqrt()
    parts = {4: cosine, 2: root, 1: root.sqrt()}
    product = torch.ones_like(cosine)
    for part in (4, 2, 1):
        if quarters & part:
            product = product * parts[part]
    return product
