"""Pictures of scenes, by casting rays in batches, on a CPU or a GPU.

A pixel whose rays all meet one face of a matte object, or the ground, is shaded once, at its middle; the
others, and all pixels with metal, are the mean of four rays. Scenes are drawn in groups, so that memory
stays bounded; a picture is the same to the last bit whichever pictures are drawn with it. On a GPU the
host waits a few times a group for the lengths of lists, never for a picture.
Letters: I scenes, P = I * H * W pixels, S samples to be shaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from hacore_clevr.generate.layout import Objects, Views
from hacore_clevr.generate.raster import (
    Boxes,
    Size,
    covered,
    pixel_places,
    place_of,
    surface_of,
    surfaces,
)
from hacore_clevr.generate.shading import LAMPS, displayed, shade
from hacore_clevr.generate.shadows import Pairs, light_boxes, sky_boxes
from hacore_clevr.generate.stage import Stage, make_stage
from hacore_clevr.generate.tracing import locate
from hacore_clevr.generate.vectors import Vec

PLACES = ((0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875))
"""Of the four rays in a pixel: no two share a row or a column, as suits edges that are nearly straight."""
MIDDLE = ((0.5, 0.5),)

GROUP_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 21}
"""Pixels drawn at a time; on a CPU so few that tables stay in its cache."""


def render(views: Views, objects: Objects, size: Size, device: torch.device | str = "cpu") -> Tensor:
    """I scenes -> (I, 3, H, W) uint8 pictures on the device."""
    groups = [draw(stage, size) for stage in _groups(views, objects, size, device)]
    return torch.cat(groups) if groups else torch.empty((0, 3, *size), dtype=torch.uint8, device=device)


def object_ids(views: Views, objects: Objects, size: Size, device: torch.device | str = "cpu") -> Tensor:
    """I scenes -> (I, H, W) int64: which object the middle of each pixel shows, -1 for the ground."""
    height, width = size
    groups = [
        place_of(surfaces(stage, size, MIDDLE)[0]).view(-1, height, width)
        for stage in _groups(views, objects, size, device)
    ]
    return torch.cat(groups) if groups else torch.empty((0, *size), dtype=torch.int64, device=device)


def _groups(views: Views, objects: Objects, size: Size, device: torch.device | str) -> Iterator[Stage]:
    pixels = GROUP_PIXELS["cpu" if torch.device(device).type == "cpu" else "cuda"]
    each = max(1, pixels // (size[0] * size[1]))
    for start in range(0, len(views), each):
        rows = np.arange(start, min(start + each, len(views)))
        yield make_stage(views.take(rows), objects.take(rows), device)


@attrs.frozen(kw_only=True, eq=False)
class Samples:
    """Samples of P pixels: one each for plain pixels, then four each for the others, side by side.

    pixel_S; x_S, y_S: place in the pixel. own_S: row of the object, -1 for the ground. first_P: the
    pixel's first sample. plain_P: has it only one? plain, mixed: the pixels of both kinds.
    """

    pixel_S: Tensor
    x_S: Tensor
    y_S: Tensor
    own_S: Tensor
    first_P: Tensor
    plain_P: Tensor
    plain: Tensor
    mixed: Tensor


def meet(stage: Stage, size: Size) -> tuple[Tensor, Tensor]:
    """What the four rays of each pixel meet: row of the object, -1 for the ground (4, P); plain_P.

    A pixel is plain where they all meet one face, and it is not of metal.
    """
    keys_4P = surfaces(stage, size, PLACES)
    surface_4P, place_4P = surface_of(keys_4P), place_of(keys_4P)
    image_P = torch.arange(keys_4P.shape[1], device=stage.device) // (size[0] * size[1])
    own_4P = torch.where(place_4P < 0, -1, image_P * stage.places + place_4P)
    same_P = (surface_4P[1:] == surface_4P[0]).all(0)
    metal_P = stage.metal_B.index_select(0, own_4P[0].clamp(min=0)) & (own_4P[0] >= 0)
    return own_4P, same_P & ~metal_P


def choose_samples(own_4P: Tensor, plain_P: Tensor) -> Samples:
    """Where to shade: plain pixels in their middle, the others where their four rays go."""
    device = own_4P.device
    plain, mixed = plain_P.nonzero().squeeze(1), (~plain_P).nonzero().squeeze(1)
    first_P = torch.empty_like(own_4P[0])
    first_P[plain] = torch.arange(len(plain), device=device)
    first_P[mixed] = len(plain) + len(PLACES) * torch.arange(len(mixed), device=device)

    def places(axis: int) -> Tensor:
        four = torch.tensor([place[axis] for place in PLACES], device=device)
        return torch.cat([torch.full((len(plain),), 0.5, device=device), four.repeat(len(mixed))])

    return Samples(
        pixel_S=torch.cat([plain, mixed.repeat_interleave(len(PLACES))]),
        x_S=places(0),
        y_S=places(1),
        own_S=torch.cat([own_4P[0].index_select(0, plain), own_4P.index_select(1, mixed).T.reshape(-1)]),
        first_P=first_P,
        plain_P=plain_P,
        plain=plain,
        mixed=mixed,
    )


def sample_pairs(stage: Stage, samples: Samples, boxes: Boxes, size: Size) -> Pairs:
    """Boxes of objects -> pairs of all samples in them with the objects, except a sample's own object."""
    pixel_C, object_C = covered(stage, boxes, size)
    first_C, plain_C = samples.first_P.index_select(0, pixel_C), samples.plain_P.index_select(0, pixel_C)
    one, four = plain_C.nonzero().squeeze(1), (~plain_C).nonzero().squeeze(1)
    each = torch.arange(len(PLACES), device=stage.device)
    point = torch.cat(
        [first_C.index_select(0, one), (first_C.index_select(0, four)[:, None] + each).flatten()]
    )
    owner = torch.cat(
        [object_C.index_select(0, one), object_C.index_select(0, four).repeat_interleave(len(PLACES))]
    )
    return Pairs(point_C=point, object_C=owner).others(samples.own_S)


@torch.inference_mode()
def draw(stage: Stage, size: Size) -> Tensor:
    """One group of scenes -> (I, 3, H, W) uint8."""
    samples = choose_samples(*meet(stage, size))
    boxes = [light_boxes(stage, stage.lights[i], lamp.radius, size) for i, lamp in enumerate(LAMPS)]
    pairs = [sample_pairs(stage, samples, each, size) for each in (*boxes, sky_boxes(stage, size))]
    return to_pictures(colors(stage, samples, pairs, size), samples, stage.scenes, size)


def colors(stage: Stage, samples: Samples, pairs: Sequence[Pairs], size: Size) -> Vec:
    """Of samples, in [0, 255]; pairs: occluders to ask about for each lamp, and last for the sky."""
    image_S, left, top = pixel_places(stage, samples.pixel_S, size)
    eye, view = stage.rays(image_S, (left + samples.x_S) / size[1], (top + samples.y_S) / size[0])
    return displayed(shade(stage, locate(stage, eye, view, image_S, samples.own_S), view, pairs))


def to_pictures(color: Vec, samples: Samples, scenes: int, size: Size) -> Tensor:
    """Colours of samples in [0, 255] -> pictures; a pixel's four are averaged."""
    height, width = size
    one = len(samples.plain)
    picture = torch.empty((3, scenes * height * width), device=color.x.device)
    for channel, part in enumerate((color.x, color.y, color.z)):
        four = part[one:].view(-1, len(PLACES))
        mean = ((four[:, 0] + four[:, 1]) + (four[:, 2] + four[:, 3])) * 0.25
        picture[channel].index_copy_(0, samples.plain, part[:one])
        picture[channel].index_copy_(0, samples.mixed, mean)
    rounded = (picture + 0.5).to(torch.uint8)
    return rounded.view(3, scenes, height, width).transpose(0, 1).contiguous()
