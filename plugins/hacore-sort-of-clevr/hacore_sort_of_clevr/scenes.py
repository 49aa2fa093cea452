"""Scenes of six objects and their images.

A scene is a row of (6, 3) integers, one object for each of ``COLOURS``: shape (index into ``SHAPES``),
x to the right and y down, in pixels from the image's top left corner to the object's centre.
Centres lie on corners between pixels, so that an object is ``2 * HALF`` pixels wide and never sits on
the middle of the image, 37.5.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from hacore_sort_of_clevr import Closest

SIZE, HALF = 75, 5
COLOURS = ("red", "green", "blue", "orange", "gray", "yellow")
RGB = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 156, 0], [128, 128, 128], [255, 255, 0]], np.uint8
)
SHAPES = ("rectangle", "circle")
WHITE = 255

_SELF = {"other": np.iinfo(np.int64).max, "popular": 999}
"""Squared distance of an object from itself when the nearest is looked for."""

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@attrs.frozen(kw_only=True)
class SceneObject:
    """One object: names of its colour and shape, and its centre in pixels from the top left corner."""

    colour: str
    shape: str
    x: int
    y: int


def _masks() -> npt.NDArray[np.bool_]:
    """(shapes, 2 HALF, 2 HALF): the pixels each shape covers; a circle's are those centred inside it."""
    line = np.arange(-HALF, HALF) + 0.5
    disc = line[:, None] ** 2 + line**2 <= HALF**2
    return np.stack([np.ones_like(disc), disc])


MASKS = _masks()


def draw_integers(bits: np.random.PCG64, below: int, shape: tuple[int, ...]) -> Ints:
    """Uniform integers in [0, below).

    From the raw stream, which NumPy keeps the same in every version; it does not promise that for
    the methods of ``Generator``. The bias of the multiplication is under ``below`` / 2**32.
    """
    raw: npt.NDArray[np.uint64] = bits.random_raw(shape)
    return (((raw >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def squared_distances(scenes: Ints) -> Ints:
    """(I, O, 3) scenes -> (I, O, O), exact, so that ties are seen."""
    offsets = scenes[:, :, None, 1:] - scenes[:, None, :, 1:]
    squared: Ints = (offsets**2).sum(-1)
    return squared


def nearest_and_furthest(
    scenes: Ints, closest: Closest = "other"
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(I, O, 3) scenes -> two (I, O, O): is the second object nearest to, furthest from the first?

    An object is neither to itself, but for ``closest = "popular"``: there it is at the squared distance
    999 from itself, and so its own nearest where no other object is within 31.6 pixels. Several are where
    distances tie; none ties with 999, which is no sum of two squares.
    """
    squared = squared_distances(scenes)
    self = np.eye(scenes.shape[1], dtype=bool)
    others = np.where(self, _SELF[closest], squared)
    return others == others.min(-1, keepdims=True), ~self & (squared == squared.max(-1, keepdims=True))


def ambiguous(scenes: Ints) -> npt.NDArray[np.bool_]:
    """(I, O, 3) scenes -> (I,): do objects of different shapes tie as some object's closest or furthest?"""
    circle = (scenes[..., 0] == SHAPES.index("circle"))[:, None, :]
    mask = np.zeros(len(scenes), bool)
    for chosen in nearest_and_furthest(scenes):
        mask |= ((chosen & circle).any(-1) & (chosen & ~circle).any(-1)).any(-1)
    return mask


def _crowded(scenes: Ints) -> npt.NDArray[np.bool_]:
    """(I, O, 3) scenes -> (I,): is there less than a pixel between the bounding boxes of two objects?"""
    gaps = np.abs(scenes[:, :, None, 1:] - scenes[:, None, :, 1:]).max(-1)
    first, second = np.triu_indices(scenes.shape[1], 1)
    crowded: npt.NDArray[np.bool_] = (gaps[:, first, second] <= 2 * HALF).any(-1)
    return crowded


def sample_scenes(bits: np.random.PCG64, count: int) -> Ints:
    """(count, 6, 3) scenes, uniform over those that are neither crowded nor ambiguous.

    A scene that is, is drawn again as a whole, so that no colour has a smaller choice of places.
    """
    scenes = np.empty((count, len(COLOURS), 3), np.int64)
    missing = np.arange(count)
    while len(missing):
        shape = (len(missing), len(COLOURS))
        drawn = np.empty((*shape, 3), np.int64)
        drawn[..., 0] = draw_integers(bits, len(SHAPES), shape)
        drawn[..., 1:] = HALF + draw_integers(bits, SIZE - 2 * HALF + 1, (*shape, 2))
        bad = _crowded(drawn) | ambiguous(drawn)
        scenes[missing[~bad]] = drawn[~bad]
        missing = missing[bad]
    return scenes


def draw(scenes: Ints) -> Bytes:
    """(I, 6, 3) scenes -> (I, 3, 75, 75) images; whole boxes are written, as they do not overlap."""
    images = np.full((len(scenes), 3, SIZE, SIZE), WHITE, np.uint8)
    box = np.arange(-HALF, HALF)
    image = np.arange(len(scenes))[:, None, None]
    for index, colour in enumerate(RGB):
        shape, x, y = scenes[:, index].T
        rows, columns = (y[:, None] + box)[:, :, None], (x[:, None] + box)[:, None, :]
        for channel, value in enumerate(colour):
            images[image, channel, rows, columns] = np.where(MASKS[shape], value, np.uint8(WHITE))
    return images


def object_boxes(scenes: Ints) -> npt.NDArray[np.float32]:
    """(I, O, 3) scenes -> (I, O, 4): left, top, right and bottom of each object, as shares of the image."""
    middle = scenes[..., 1:]
    return (np.concatenate([middle - HALF, middle + HALF], -1) / SIZE).astype(np.float32)


def pixel_statistics(scenes: Ints) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, pixels in [0, 1], over the images of (I, 6, 3) scenes.

    Exact without reading the images: what each object covers is known from its shape.
    """
    pixels = len(scenes) * SIZE * SIZE
    covered = MASKS.sum((1, 2))[scenes[..., 0]].sum(0)  # pixels of each colour
    values = np.concatenate([RGB, np.full((1, 3), WHITE)]).astype(np.int64)
    counts = np.append(covered, pixels - covered.sum())[:, None]
    mean = (counts * values).sum(0) / pixels
    variance = (counts * values**2).sum(0) / pixels - mean**2
    return tuple((mean / 255).tolist()), tuple((np.sqrt(variance) / 255).tolist())
