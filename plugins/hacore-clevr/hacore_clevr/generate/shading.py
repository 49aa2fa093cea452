"""What colour a surface shows: matte rubber, metal that mirrors its surroundings dimly, and the ground.

Colours are linear; ``displayed`` gives them the curve of a display. Powers are products and roots, so that a
value does not depend on what is computed with it. Letters: R points, C pairs, B objects, O places a scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from torch import Tensor

from hacore_clevr.domain import SHAPES
from hacore_clevr.generate import look
from hacore_clevr.generate.lamps import LAMPS, Ray, ray_to
from hacore_clevr.generate.shadows import (
    Pairs,
    light_reaching,
    open_sky,
    others,
    pairs_of,
    possible,
)
from hacore_clevr.generate.stage import Stage
from hacore_clevr.generate.tracing import Surface, bounce
from hacore_clevr.generate.vectors import Vec, colored, constant, mirrored, smooth

SPHERE = SHAPES.index("sphere")
FLAT_TOP = 0.9
"""Normals that rise more than this are on their way from a rounded edge to a flat top."""


@attrs.frozen(kw_only=True, eq=False)
class Light:
    """What reaches points: the sum, and of each lamp its ray and the share that is not hidden."""

    total: Vec
    rays: tuple[Ray, ...]
    shares: tuple[Tensor, ...]


def light_on(stage: Stage, surface: Surface, pairs: Sequence[Pairs]) -> Light:
    """Light on matte surfaces; pairs: occluders to ask about for each lamp."""
    points, normals, image_R = surface.points, surface.normals, surface.image_R
    sky = open_sky(stage, points, normals, image_R, surface.own_R)
    upward = normals.z * 0.5 + 0.5
    total = colored(look.SKY, sky * upward) + colored(look.GLOW, sky * (1 - upward))
    rays, shares = [], []
    for number, lamp in enumerate(LAMPS):
        ray = ray_to(stage, number, points, image_R)
        share = light_reaching(stage, number, points, ray, pairs[number])
        facing = ray.toward.dot(normals).clamp(min=0)
        total = total + colored(lamp.color, facing * share * ray.strength)
        rays.append(ray)
        shares.append(share)
    return Light(total=total, rays=tuple(rays), shares=tuple(shares))


def possible_pairs(stage: Stage, image_R: Tensor, own_R: Tensor) -> list[Pairs]:
    """For each lamp, the objects that may hide it from points on objects."""
    lamps = range(len(LAMPS))
    return [pairs_of(stage, image_R, possible(stage, lamp).index_select(0, own_R)) for lamp in lamps]


def shade(stage: Stage, surface: Surface, view: Vec) -> Vec:
    """Linear colours of points on objects as the eye sees them; view: from the eye, any length."""
    light = light_on(stage, surface, possible_pairs(stage, surface.image_R, surface.own_R))
    toward = view.unit()
    mirror = mirrored(toward, surface.normals)
    tint = stage.tint.take(surface.own_R)
    color = light.total.scaled(tint) + _halos(mirror, light) * look.RUBBER_SHINE
    metal = stage.metal_B.index_select(0, surface.own_R)
    rows = metal.nonzero().squeeze(1)
    shares = tuple(share.index_select(0, rows) for share in light.shares)
    rays = tuple(ray.take(rows) for ray in light.rays)
    reaching = Light(total=light.total.take(rows), rays=rays, shares=shares)
    image = _metal(stage, surface.take(rows), mirror.take(rows), reaching)
    color.put(rows, image.scaled(tint.take(rows)))
    return color


def _metal(stage: Stage, surface: Surface, mirror: Vec, light: Light) -> Vec:
    """What white metal shows; mirror: unit."""
    image = _mirror_image(stage, surface, mirror) + _lamps_mirrored(mirror, light)
    flat = stage.shape_B.index_select(0, surface.own_R) != SPHERE
    upward = smooth((surface.normals.z - FLAT_TOP) * (1 / (1 - FLAT_TOP)))
    return image + light.total * look.METAL_MATTE + colored(look.METAL_TOP, upward * flat)


def _halos(mirror: Vec, light: Light) -> Vec:
    """Lamps as a surface shows them that is not quite rough; mirror: unit."""
    total = constant((0.0, 0.0, 0.0), mirror.x)
    for lamp, ray, share in zip(LAMPS, light.rays, light.shares, strict=True):
        total = total + colored(lamp.color, _lobe(mirror, ray, look.RUBBER_WIDTH) * share * ray.strength)
    return total


def _lobe(mirror: Vec, ray: Ray, width: float) -> Tensor:
    wide = 1 + (1 - mirror.dot(ray.toward)) * (1 / width)
    return 1 / (wide * wide)


def _lamps_mirrored(mirror: Vec, light: Light) -> Vec:
    """Lamps as metal shows them: a disc with a halo; mirror: unit."""
    total = constant((0.0, 0.0, 0.0), mirror.x)
    for lamp, ray, share in zip(LAMPS, light.rays, light.shares, strict=True):
        near = _lobe(mirror, ray, look.METAL_WIDTH)
        halo = near * near * ray.strength * lamp.shine
        inner, outer = lamp.edge
        disc = smooth((mirror.dot(ray.toward) - (1 - outer)) * (1 / (outer - inner)))
        # Nothing behind a lamp shows it.
        disc = disc * (ray.strength > look.DARK) * lamp.disc
        total = total + colored(lamp.color, halo * share)
        total = total + constant((1.0, 1.0, 1.0), share) * (disc * share)
    return total


def _mirror_image(stage: Stage, surface: Surface, direction: Vec) -> Vec:
    """What metal mirrors apart from lamps: objects, and the ground, which the rough surface fades upwards."""
    surfaces, hits = bounce(stage, surface, direction)
    rows = hits.nonzero().squeeze(1)
    met = surfaces.take(rows)
    pairs = others(stage, met.image_R, met.own_R)
    light = light_on(stage, met, [pairs] * len(LAMPS)).total
    own = met.own_R.clamp(min=0)
    ground, metal = met.own_R < 0, stage.metal_B.index_select(0, own)
    tint = stage.tint.take(own)
    seen = (tint * look.METAL_IN_METAL).where(metal, light.scaled(tint))
    fading = smooth((look.HORIZON - direction.z) * (1 / look.HORIZON_WIDTH))
    share = fading.index_select(0, rows)
    near = light.scaled(constant(look.GROUND_IN_METAL, light.x)) * share
    image = colored(look.FAR_GROUND, fading)
    image.put(rows, near.where(ground, seen))
    return image + constant(look.WORLD, direction.x)


def displayed(linear: Tensor) -> Tensor:
    """Linear colours -> [0, 255] of sRGB, not rounded.

    Source of the formula, which is within 0.3: I. Taylor, *sRGB Approximations for HLSL*, 2012.
    """
    linear = linear.clamp(0, 1)
    root = linear.sqrt()
    fourth = root.sqrt()
    eighth = fourth.sqrt()
    # The formula is a little below 0 where nothing shines.
    value = root * 0.662002687 + fourth * 0.684122060 - eighth * 0.323583601 - linear * 0.0225411470
    return value.clamp(min=0) * 255
