"""Pictures of scenes, by casting rays in batches, on a CPU or a GPU.

Four rays go through every pixel that an object may cover. Each face that they meet is shaded once, in the
middle of where they meet it, and counts by their number. Light on the ground changes slowly: it is computed
for every second pixel both ways and interpolated. Scenes are drawn in groups, so that memory stays bounded; a
picture is the same to the last bit whichever pictures are drawn with it. On a GPU the host waits a few times
a group for the lengths of lists, never for a picture.
Letters: I scenes, P = I * H * W pixels, T pixels that an object may cover, F fragments to be shaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hacore_clevr.generate.lamps import LAMPS
from hacore_clevr.generate.layout import Objects, Views
from hacore_clevr.generate.raster import (
    Size,
    covered_by_shape,
    pixel_places,
    place_of,
    surface_of,
    surfaces,
)
from hacore_clevr.generate.shading import displayed, light_on, shade
from hacore_clevr.generate.shadows import Pairs, light_boxes
from hacore_clevr.generate.stage import Stage, make_stage
from hacore_clevr.generate.tracing import locate

PLACES = ((0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875))
"""Of the four rays in a pixel: no two share a row or a column, as suits edges that are nearly straight."""
MIDDLE = ((0.5, 0.5),)
STEP = 2
"""Pixels from one point of the ground to the next that is shaded."""

GROUP_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 21}
"""Pixels drawn at a time; on a CPU so few that tables stay in its cache."""


@contextmanager
def one_thread(device: torch.device | str) -> Iterator[None]:
    """On a CPU, threads would wait for each other at each of some thousand short operations, for long beside
    other work; processes that draw different scenes do not."""
    threads = torch.get_num_threads()
    alone = torch.device(device).type == "cpu" and threads > 1
    if alone:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if alone:
            torch.set_num_threads(threads)


def render(views: Views, objects: Objects, size: Size, device: torch.device | str = "cpu") -> Tensor:
    """I scenes -> (I, 3, H, W) uint8 pictures on the device."""
    with one_thread(device):
        groups = [draw(stage, size) for stage in _groups(views, objects, size, device)]
    return torch.cat(groups) if groups else torch.empty((0, 3, *size), dtype=torch.uint8, device=device)


def object_ids(views: Views, objects: Objects, size: Size, device: torch.device | str = "cpu") -> Tensor:
    """I scenes -> (I, H, W) int64: which object the middle of each pixel shows, -1 for the ground."""
    groups = [_ids(stage, size) for stage in _groups(views, objects, size, device)]
    return torch.cat(groups) if groups else torch.empty((0, *size), dtype=torch.int64, device=device)


def shown_pixels(views: Views, objects: Objects, size: Size, device: torch.device | str = "cpu") -> Tensor:
    """I scenes -> (I, O) int64: how many pixels show each object in their middle."""
    with one_thread(device):
        groups = [_counts(stage, size) for stage in _groups(views, objects, size, device)]
    places = objects.shape_IO.shape[1]
    return torch.cat(groups) if groups else torch.empty((0, places), dtype=torch.int64, device=device)


def _counts(stage: Stage, size: Size) -> Tensor:
    pixel_T, keys_1T = surfaces(stage, size, MIDDLE)
    place_T = place_of(keys_1T[0])
    row_T = pixel_T // (size[0] * size[1]) * stage.places + place_T
    counts = torch.bincount(row_T[place_T >= 0], minlength=stage.scenes * stage.places)
    return counts.view(stage.scenes, stage.places)


def _ids(stage: Stage, size: Size) -> Tensor:
    pixel_T, keys_1T = surfaces(stage, size, MIDDLE)
    ids = torch.full((stage.scenes, *size), -1, device=stage.device)
    ids.view(-1)[pixel_T] = place_of(keys_1T[0])
    return ids


def _groups(views: Views, objects: Objects, size: Size, device: torch.device | str) -> Iterator[Stage]:
    pixels = GROUP_PIXELS["cpu" if torch.device(device).type == "cpu" else "cuda"]
    each = max(1, pixels // (size[0] * size[1]))
    for start in range(0, len(views), each):
        rows = np.arange(start, min(start + each, len(views)))
        yield make_stage(views.take(rows), objects.take(rows), device)


@attrs.frozen(kw_only=True, eq=False)
class Fragments:
    """Faces in pixels. pixel_F: the pixel. x_F, y_F: place in it. own_F: row of the object.

    pixel_T: the pixels in which objects are. row_4T: of up to four faces in each, the fragment, or F for
    none. share_4T: of the pixel. ground_T: share of the ground.
    """

    pixel_F: Tensor
    x_F: Tensor
    y_F: Tensor
    own_F: Tensor
    pixel_T: Tensor
    row_4T: Tensor
    share_4T: Tensor
    ground_T: Tensor


def fragments(stage: Stage, size: Size) -> Fragments:
    """What the four rays of each pixel meet, equal faces together."""
    pixel_T, keys_4T = surfaces(stage, size, PLACES)
    surface_4T = surface_of(keys_4T)
    rows = (surface_4T >= 0).any(0).nonzero().squeeze(1)
    pixel_T, surface_4T = pixel_T.index_select(0, rows), surface_4T.index_select(1, rows)
    same_44T = surface_4T[:, None] == surface_4T[None]
    earlier_44 = torch.ones((4, 4), dtype=torch.bool, device=stage.device).tril(-1)
    first_4T = (surface_4T >= 0) & ~(same_44T & earlier_44[:, :, None]).any(1)
    place, column = first_4T.nonzero().unbind(1)
    count_4T = same_44T.sum(1)
    count_F = count_4T[place, column]
    places_2_4 = torch.tensor(PLACES, device=stage.device).T
    same_4F = same_44T[:, place, column].float()
    x_F, y_F = ((same_4F * axis_4[:, None]).sum(0) / count_F for axis_4 in places_2_4)
    row_4T = torch.full_like(surface_4T, len(place))
    row_4T[place, column] = torch.arange(len(place), device=stage.device)
    pixel_F = pixel_T.index_select(0, column)
    return Fragments(
        pixel_F=pixel_F,
        x_F=x_F,
        y_F=y_F,
        own_F=pixel_F // (size[0] * size[1]) * stage.places + (surface_4T[place, column] >> 2),
        pixel_T=pixel_T,
        row_4T=row_4T,
        share_4T=count_4T * 0.25,
        ground_T=(surface_4T < 0).sum(0) * 0.25,
    )


@torch.inference_mode()
def draw(stage: Stage, size: Size) -> Tensor:
    """One group of scenes -> (I, 3, H, W) uint8."""
    height, width = size
    linear_3P = ground(stage, size)
    shown = fragments(stage, size)
    image_F, left, top = pixel_places(stage, shown.pixel_F, size)
    eye, view = stage.rays(image_F, (left + shown.x_F) / width, (top + shown.y_F) / height)
    color = shade(stage, locate(stage, eye, view, image_F, shown.own_F), view)
    for part, color_F in zip(linear_3P, color.parts, strict=True):
        # As a display, no ray counts for more than white; the last row stands for no fragment.
        color_F = torch.cat([color_F.clamp(0, 1), color_F.new_zeros(1)])
        mixed_T = part.index_select(0, shown.pixel_T) * shown.ground_T
        for row_T, share_T in zip(shown.row_4T, shown.share_4T, strict=True):
            mixed_T = mixed_T + color_F.index_select(0, row_T) * share_T
        part.index_copy_(0, shown.pixel_T, mixed_T)
    rounded = (displayed(linear_3P) + 0.5).to(torch.uint8)
    return rounded.view(3, stage.scenes, height, width).transpose(0, 1).contiguous()


def ground(stage: Stage, size: Size) -> Tensor:
    """(3, P) linear colours of the ground, as if no object stood before it."""
    height, width = size
    coarse = (-(-height // STEP), -(-width // STEP))
    pixel = torch.arange(stage.scenes * coarse[0] * coarse[1], device=stage.device)
    image, left, top = pixel_places(stage, pixel, coarse)
    x, y = (left + 0.5) * STEP / width, (top + 0.5) * STEP / height
    eye, view = stage.rays(image, x, y)
    surface = locate(stage, eye, view, image, torch.full_like(image, -1))
    grid = (coarse[0] * STEP, coarse[1] * STEP)
    total = light_on(stage, surface, ground_pairs(stage, coarse)).total
    layers = torch.stack(total.parts).view(3, stage.scenes, *coarse)
    wide = F.interpolate(layers, size=grid, mode="bilinear", align_corners=False)
    return wide[:, :, :height, :width].reshape(3, -1)


def ground_pairs(stage: Stage, size: Size) -> list[Pairs]:
    """For each lamp, the objects that may hide it from points of the ground, one a pixel."""
    return [covered_by_shape(stage, light_boxes(stage, lamp, size), size) for lamp in range(len(LAMPS))]
