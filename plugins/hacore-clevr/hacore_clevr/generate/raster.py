"""Which pixels an object can touch, and which object each ray of a picture meets first.

Letters: I scenes, P = I * H * W pixels, B objects, C pairs of a pixel and an object whose bounding box
covers it, S rays through each pixel. Only these pairs are tested, so that the work follows the area of the
objects and not their number times the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from hacore_clevr import camera
from hacore_clevr.domain import SHAPES
from hacore_clevr.generate.shapes import HITS
from hacore_clevr.generate.stage import EMPTY, Stage
from hacore_clevr.generate.vectors import Vec

Size = tuple[int, int]
"""Height and width in pixels."""

GROUND = torch.iinfo(torch.int64).max
"""Key of a ray that meets no object."""

NEAREST_DEPTH = 0.5


@attrs.frozen(kw_only=True, eq=False)
class Boxes:
    """Rectangles of pixels, half open, int64 of (B,) each; an empty place has an empty one."""

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor


def corners(low: Vec, high: Vec) -> Vec:
    """Of boxes along the axes: of (8, B)."""

    def stack(axis: str) -> Tensor:
        ends, bit = (getattr(low, axis), getattr(high, axis)), "xyz".index(axis)
        return torch.stack([ends[corner >> bit & 1] for corner in range(8)])

    return Vec(stack("x"), stack("y"), stack("z"))


def bounds(stage: Stage, wider: Tensor | float = 0.0) -> Vec:
    """Corners of boxes around the objects, grown to all sides but below the ground: of (8, B)."""
    center, half = stage.center, stage.half_B
    reach = stage.reach_B + wider
    low = Vec(center.x - reach, center.y - reach, torch.zeros_like(half))
    return corners(low, Vec(center.x + reach, center.y + reach, 2 * half + wider))


def screen_boxes(stage: Stage, points: Vec, size: Size) -> Boxes:
    """The pixels around points of (n, B), which belong to the objects; whole pictures near the camera."""
    height, width = size
    image = stage.image_B

    def spread(vec: Vec) -> Vec:
        return vec.take(image)

    offset = points - spread(stage.eye)
    depth = offset.dot(spread(stage.forward))
    safe = depth.clamp(min=NEAREST_DEPTH)
    x = (offset.dot(spread(stage.right)) / safe / camera.TAN_X + 1) * (width / 2)
    y = (1 - offset.dot(spread(stage.up)) / safe / camera.TAN_Y) * (height / 2)
    near, empty = (depth < NEAREST_DEPTH).any(0), stage.shape_B == EMPTY

    def span(place: Tensor, most: int) -> tuple[Tensor, Tensor]:
        # One pixel of slack on both sides for what float32 rounds.
        first = torch.where(near, 0, (place.amin(0) - 1).floor().clamp(0, most))
        last = torch.where(near, most, (place.amax(0) + 1).ceil().clamp(0, most))
        return first.long(), (last - first).long().masked_fill(empty, 0)

    (left, across), (top, down) = span(x, width), span(y, height)
    return Boxes(left=left, top=top, width=across, height=down)


def covered(stage: Stage, boxes: Boxes, size: Size, rows_N: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes of some objects -> pairs: pixel_C, object_C, both int64."""
    height, width = size
    left, top, across, down = (
        part.index_select(0, rows_N) for part in (boxes.left, boxes.top, boxes.width, boxes.height)
    )
    area = across * down
    which_C = torch.repeat_interleave(area)
    # From the box's first pixel, down by whole rows, and across by what is left.
    first = (stage.image_B.index_select(0, rows_N) * height + top) * width + left - (area.cumsum(0) - area)
    offset = torch.arange(len(which_C), device=stage.device)
    inside = offset - (area.cumsum(0) - area).index_select(0, which_C)
    line = inside // across.index_select(0, which_C)
    skipped = (width - across).index_select(0, which_C)
    return first.index_select(0, which_C) + offset + line * skipped, rows_N.index_select(0, which_C)


def by_shape(stage: Stage, object_C: Tensor) -> list[Tensor]:
    """Positions of the pairs with an object of each shape, int64."""
    shape_C = stage.shape_B.index_select(0, object_C)
    return [(shape_C == shape).nonzero().squeeze(1) for shape in range(len(SHAPES))]


def covered_by_shape(stage: Stage, boxes: Boxes, size: Size) -> list[tuple[Tensor, Tensor]]:
    """As ``covered``, of the objects of each shape."""
    rows_by_shape = by_shape(stage, torch.arange(len(stage.shape_B), device=stage.device))
    return [covered(stage, boxes, size, rows) for rows in rows_by_shape]


def pixel_places(stage: Stage, pixel_C: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels -> image, x and y of their top left corners, in pixels (x, y float32)."""
    height, width = size
    line = pixel_C // width
    image = line // height
    return image, (pixel_C - line * width).float(), (line - image * height).float()


@attrs.frozen(kw_only=True, eq=False)
class Frames:
    """Cameras in the frames of objects: the eye, and the directions to pixels at x and y in [0, 1]."""

    eye: Vec
    corner: Vec
    across: Vec
    down: Vec

    @classmethod
    def of(cls, stage: Stage) -> Frames:
        """Of all objects."""
        image, cos, sin = stage.image_B, stage.cos_B, -stage.sin_B
        right = stage.right.take(image) * camera.TAN_X
        up = stage.up.take(image) * camera.TAN_Y
        parts = {
            "eye": stage.eye.take(image) - stage.center,
            "corner": stage.forward.take(image) - right + up,
            "across": right * 2.0,
            "down": up * -2.0,
        }
        return cls(**{name: part.turned(cos, sin) for name, part in parts.items()})

    def take(self, object_C: Tensor) -> Frames:
        """Of some objects."""
        return Frames(**{name: getattr(self, name).take(object_C) for name in attrs.fields_dict(Frames)})

    def direction(self, x: Tensor, y: Tensor) -> Vec:
        """Of length one along the camera's axis."""
        return self.corner + self.across * x + self.down * y


def surfaces(stage: Stage, size: Size, places: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    """What rays meet first: pixel_T, the T pixels that some object may cover, in order; (S, T) int64 keys.

    S rays go through each of these pixels at places (x, y) in it. A key orders by depth; ``place_of`` and
    ``surface_of`` read it; GROUND where no object is met. Of objects at the same depth the first counts. The
    least key is the same in whatever order pairs come.
    """
    height, width = size
    pairs = covered_by_shape(stage, screen_boxes(stage, bounds(stage), size), size)
    slot_P = torch.zeros(stage.scenes * height * width, dtype=torch.int64, device=stage.device)
    for pixel, _ in pairs:
        slot_P[pixel] = 1
    pixel_T = slot_P.nonzero().squeeze(1)
    slot_P[pixel_T] = torch.arange(len(pixel_T), device=stage.device)
    keys = torch.full((len(places), len(pixel_T)), GROUND, device=stage.device)
    frames = Frames.of(stage)
    for shape, (pixel, owner) in enumerate(pairs):
        slot, (_, left, top) = slot_P.index_select(0, pixel), pixel_places(stage, pixel, size)
        frame, half = frames.take(owner), stage.half_B.index_select(0, owner)
        place = owner % stage.places
        for row, (x, y) in enumerate(places):
            direction = frame.direction((left + x) * (1 / width), (top + y) * (1 / height))
            depth, face = HITS[shape](frame.eye, direction, half)
            keys[row].scatter_reduce_(0, slot, make_keys(depth, face, place), "amin")
    return pixel_T, keys


def make_keys(depth: Tensor, face: Tensor, place: Tensor) -> Tensor:
    """Depth (inf for a miss), face and place of an object in its scene -> keys.

    The bits of a float that is not negative, read as an integer, are in the order of the floats.
    """
    key = depth.view(torch.int32).long() << 6 | place << 2 | face
    return torch.where(depth < torch.inf, key, GROUND)


def surface_of(keys: Tensor) -> Tensor:
    """The part of keys that names the object and its face; -1 for the ground."""
    return torch.where(keys == GROUND, -1, keys & 63)


def place_of(keys: Tensor) -> Tensor:
    """The object's place in its scene; -1 for the ground."""
    return torch.where(keys == GROUND, -1, keys >> 2 & 15)
