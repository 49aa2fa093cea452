"""What colour a surface shows: matte rubber, mirror-like metal, gray ground, three lamps and the sky.

Colours are linear, in units in which a white surface under all of the light is about one. Pictures are
written as the root of that, which stands for a display's curve. Powers are products, so that a value
does not depend on what is computed with it. Letters: R points, C pairs, I scenes, O objects a scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from hacore_clevr.generate.shadows import Pairs, light_reaching, sky_reaching
from hacore_clevr.generate.stage import Stage
from hacore_clevr.generate.tracing import Surface, bounce, every_pair
from hacore_clevr.generate.vectors import Vec, mirrored, smooth

Color = tuple[float, float, float]


@attrs.frozen(kw_only=True)
class Lamp:
    """color: linear, of strength one. strength: of a surface that faces it from ``distance``.

    radius: of its ball, which makes the edges of shadows soft. shine: in highlights.
    """

    color: Color
    strength: float
    distance: float
    radius: float
    shine: float


LAMPS = (
    Lamp(color=(1.0, 0.93, 0.84), strength=0.62, distance=8.3, radius=0.45, shine=1.0),
    Lamp(color=(0.84, 0.90, 1.0), strength=0.20, distance=6.9, radius=0.6, shine=0.35),
    Lamp(color=(1.0, 0.98, 0.96), strength=0.26, distance=6.5, radius=0.5, shine=0.4),
)
"""Key, fill and back."""

SKY: Color = (0.40, 0.41, 0.43)
GROUND_TINT: Color = (0.42, 0.42, 0.42)
HORIZON: Color = (0.33, 0.33, 0.335)
FADE = 18.0
"""Distance from the middle at which the ground is half horizon."""


@attrs.frozen(kw_only=True, eq=False)
class Light:
    """What reaches points: the sum of all light (Vec), and the share of each lamp."""

    total: Vec
    shares: tuple[Tensor, ...]


def _constant(color: Color, like: Tensor) -> Vec:
    return Vec(*(torch.full_like(like, part) for part in color))


def _colored(color: Color, amount: Tensor) -> Vec:
    return Vec(*(amount * part for part in color))


def light_on(stage: Stage, surface: Surface, pairs: Sequence[Pairs]) -> Light:
    """Light on matte surfaces; pairs: occluders to ask about for each lamp, and last for the sky."""
    open_R = sky_reaching(stage, surface.points, surface.normals, pairs[-1])
    # From below comes what the ground gives back.
    upward = surface.normals.z * 0.5 + 0.5
    total = _colored(SKY, open_R * (0.45 + 0.55 * upward))
    shares = []
    for lamp, light, asked in zip(LAMPS, stage.lights, pairs, strict=False):
        offset = light.take(surface.image_R) - surface.points
        square = offset.dot(offset)
        facing = (offset.dot(surface.normals) / square.sqrt()).clamp(min=0)
        share = light_reaching(stage, light, lamp.radius, surface.points, surface.image_R, asked)
        fall = lamp.strength * 2 / (1 + square * (1 / lamp.distance**2))
        total = total + _colored(lamp.color, facing * share * fall)
        shares.append(share)
    return Light(total=total, shares=tuple(shares))


def matte(stage: Stage, surface: Surface, light: Light) -> Vec:
    """Colours without highlights; the ground fades towards the horizon."""
    ground = surface.own_R < 0
    tint = _constant(GROUND_TINT, surface.points.x).where(ground, stage.tint.take(surface.own_R.clamp(min=0)))
    color = light.total.scaled(tint)
    x, y = surface.points.x, surface.points.y
    square = x * x + y * y
    near = torch.where(ground, FADE * FADE / (FADE * FADE + square), 1.0)
    return color * near + _colored(HORIZON, 1 - near)


def broad_highlight(stage: Stage, surface: Surface, view: Vec, shares: Sequence[Tensor]) -> Vec:
    """The sheen of a surface that is not quite smooth; view: unit, from the eye."""
    total = _constant((0.0, 0.0, 0.0), view.x)
    for lamp, light, share in zip(LAMPS, stage.lights, shares, strict=True):
        toward = (light.take(surface.image_R) - surface.points).unit()
        cosine = (toward - view).unit().dot(surface.normals).clamp(min=0)
        power = cosine * cosine
        power = power * power
        power = power * power
        total = total + _colored(lamp.color, power * power * share * lamp.shine)
    return total


def sharp_highlight(stage: Stage, surface: Surface, mirror: Vec, shares: Sequence[Tensor]) -> Vec:
    """The lamps as metal mirrors them, larger than they are; mirror: unit."""
    total = _constant((0.0, 0.0, 0.0), mirror.x)
    for lamp, light, share in zip(LAMPS, stage.lights, shares, strict=True):
        toward = (light.take(surface.image_R) - surface.points).unit()
        cosine = toward.dot(mirror)
        disc = smooth((cosine - 0.975) * (1 / 0.015))
        total = total + _colored(lamp.color, disc * share * (1.2 * lamp.shine))
    return total


def surroundings(direction: Vec) -> Vec:
    """What a mirror shows where nothing stands: gray, lighter above and on the key lamp's side."""
    height = direction.z.clamp(0, 1)
    side = (0.91 * direction.x - 0.41 * direction.y).clamp(0, 1)
    return _colored((1.0, 1.0, 1.02), 0.12 + 0.50 * height * (2 - height) + 0.3 * side * side)


def mirror_image(stage: Stage, surface: Surface, direction: Vec) -> Vec:
    """What surfaces of metal mirror: other objects, the ground with its shadows, the surroundings."""
    surfaces, hits = bounce(stage, surface, direction)
    rows = hits.nonzero().squeeze(1)
    reflected = surfaces.take(rows)
    pairs = every_pair(stage, reflected.image_R, reflected.own_R)
    color = surroundings(direction)
    color.put(rows, matte(stage, reflected, light_on(stage, reflected, [pairs] * (len(LAMPS) + 1))))
    return color


def shade(stage: Stage, surface: Surface, view: Vec, pairs: Sequence[Pairs]) -> Vec:
    """Linear colours of points as the eye sees them; view: from the eye, any length."""
    light = light_on(stage, surface, pairs)
    color = matte(stage, surface, light)
    on_object = surface.own_R >= 0
    metal = stage.metal_B.index_select(0, surface.own_R.clamp(min=0)) & on_object
    for chosen, material in ((on_object & ~metal, _rubber), (metal, _metal)):
        rows = chosen.nonzero().squeeze(1)
        shares = [share.index_select(0, rows) for share in light.shares]
        toward = view.take(rows).unit()
        color.put(rows, material(stage, surface.take(rows), toward, color.take(rows), shares))
    return color


def _rubber(stage: Stage, surface: Surface, view: Vec, color: Vec, shares: Sequence[Tensor]) -> Vec:
    return color + broad_highlight(stage, surface, view, shares) * 0.10


def _metal(stage: Stage, surface: Surface, view: Vec, color: Vec, shares: Sequence[Tensor]) -> Vec:
    mirror = mirrored(view, surface.normals)
    tint = stage.tint.take(surface.own_R)
    # Metal tints what it mirrors, least of all at a grazing angle.
    grazing = 1 + view.dot(surface.normals).clamp(-1, 0)
    edge = grazing * grazing * grazing * 0.5
    coat = tint * (2.2 * (1 - edge)) + _colored((0.9, 0.9, 0.9), edge + 0.05)
    reflected = mirror_image(stage, surface, mirror).scaled(coat)
    shine = sharp_highlight(stage, surface, mirror, shares)
    sheen = broad_highlight(stage, surface, view, shares).scaled(coat)
    return color * 0.25 + reflected + shine + sheen * 0.7


def displayed(color: Vec) -> Vec:
    """Linear colours -> [0, 255], not rounded; very bright ones lose their colour gently."""

    def curve(part: Tensor) -> Tensor:
        # Nearly the identity when dark, 1 at 2.5.
        return (part * (1 + part * 0.16) / (1 + part * 0.4)).clamp(0, 1).sqrt() * 255

    return Vec(curve(color.x), curve(color.y), curve(color.z))
