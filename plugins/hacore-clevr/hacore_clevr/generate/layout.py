"""Scenes drawn by the public generator's rules: which objects, where, seen from where, lit from where.

Letters: I scenes, O places for objects, T tries to place one. What scene i is depends on the seed, the
split and i alone: its view comes from one stream of random numbers, and every attempt to place its
objects from one of its own. The streams are read raw, which NumPy keeps the same in every version.

Source: the image generator of Johnson et al. 2017, arXiv 1612.06890. Imports no torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

import attrs
import numpy as np
import numpy.typing as npt

from hacore_clevr import camera
from hacore_clevr.domain import COLORS, MATERIALS, RADIUS, SHAPES, SIZES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HALF_WIDTH = 3.0
GAP = 0.25
MARGIN = 0.4
TRIES = 50

LIGHTS = ((6.45, -2.91, 4.26), (-4.67, -4.01, 3.01), (-1.17, 2.65, 5.82))
"""Places of the key, fill and back light before jitter."""
LIGHT_JITTER = 1.0

MOST_OBJECTS = 10
ATTRIBUTES_DRAWN = 5  # size, shape, material, colour, rotation

ANY: Mapping[str, tuple[str, ...]] = MappingProxyType(dict.fromkeys(SHAPES, COLORS))
_CUBES_A, _CYLINDERS_A = ("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan")
CONDITION_A: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"cube": _CUBES_A, "sphere": COLORS, "cylinder": _CYLINDERS_A}
)
"""Colours by shape in condition A of CLEVR-CoGenT."""
CONDITION_B: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"cube": _CYLINDERS_A, "sphere": COLORS, "cylinder": _CUBES_A}
)
"""Colours by shape in condition B: those of cubes and cylinders swapped."""


@attrs.frozen(kw_only=True)
class SceneOptions:
    """What scenes are like; the defaults are the public generator's.

    min_objects, max_objects: every number from the one to the other is equally likely; 1 to 10.
    allowed: the colours that each shape may have; shapes that are not named do not occur.
    min_pixels: the fewest pixels that an object may show of a 480x320 picture; in proportion for smaller
    and larger ones. ValueError names everything that is wrong.
    """

    min_objects: int = 3
    max_objects: int = 10
    allowed: Mapping[str, tuple[str, ...]] = ANY
    min_pixels: int = 200

    def __attrs_post_init__(self) -> None:
        problems = []
        if not 1 <= self.min_objects <= self.max_objects <= MOST_OBJECTS:
            problems.append(
                f"min_objects = {self.min_objects}, max_objects = {self.max_objects}: they must be in order "
                f"and from 1 to {MOST_OBJECTS}"
            )
        # Small objects far away show little more than 200 pixels when nothing hides them.
        if not 0 <= self.min_pixels <= 200:
            problems.append(f"min_pixels = {self.min_pixels}: it must be from 0 to 200")
        if not self.allowed:
            problems.append(f"allowed names no shape; name at least one of {', '.join(SHAPES)}")
        for shape, colors in self.allowed.items():
            if shape not in SHAPES:
                problems.append(f"allowed: no shape {shape!r}; the shapes are {', '.join(SHAPES)}")
            unknown = [color for color in colors if color not in COLORS]
            if unknown or not colors:
                names = ", ".join(map(repr, unknown)) or "no colour"
                problems.append(f"allowed[{shape!r}]: found {names}; the colours are {', '.join(COLORS)}")
        if problems:
            raise ValueError("; ".join(problems))


@attrs.frozen(kw_only=True, eq=False)
class Views:
    """What I scenes have regardless of their objects.

    count_I: number of objects. camera_I3: place of the camera. lights_I33: places of the key, fill and
    back light.
    """

    count_I: Ints
    camera_I3: Floats
    lights_I33: Floats

    def __len__(self) -> int:
        return len(self.count_I)

    def take(self, rows: npt.NDArray[np.generic]) -> Views:
        """Some of the scenes, by indices or by a mask."""
        return Views(**{name: getattr(self, name)[rows] for name in attrs.fields_dict(Views)})


@attrs.frozen(kw_only=True, eq=False)
class Objects:
    """Of I scenes, the objects; scene i has views.count_I[i] of them, in its first places.

    size_IO, shape_IO, material_IO, color_IO: indices into the tuples of ``hacore_clevr.domain``.
    xy_IO2: places on the ground. rotation_IO: degrees about z, in [0, 360).
    """

    size_IO: Ints
    shape_IO: Ints
    material_IO: Ints
    color_IO: Ints
    xy_IO2: Floats
    rotation_IO: Floats

    def take(self, rows: npt.NDArray[np.generic]) -> Objects:
        """The objects of some of the scenes, by indices or by a mask."""
        return Objects(**{name: getattr(self, name)[rows] for name in attrs.fields_dict(Objects)})

    def half_height_IO(self) -> Floats:
        """Radius of spheres and cylinders, half side of cubes: also z of the centre."""
        return np.asarray(RADIUS)[self.size_IO]

    def coords_IO3(self) -> Floats:
        """Centres."""
        return np.concatenate([self.xy_IO2, self.half_height_IO()[..., None]], -1)


def joined(parts: list[Objects]) -> Objects:
    """One after the other."""
    names = attrs.fields_dict(Objects)
    return Objects(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _uniform(seed: int, key: tuple[int, ...], count: int) -> Floats:
    """(count,) numbers in [0, 1)."""
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
    return np.asarray((bits.random_raw(count) >> np.uint64(11)) * 2.0**-53)


def _split_key(split: str) -> int:
    return zlib.crc32(f"scenes/{split}".encode())


def draw_views(seed: int, split: str, index_I: Ints, options: SceneOptions) -> Views:
    """Views of the scenes with these numbers."""
    key = _split_key(split)
    drawn = np.array([_uniform(seed, (key, int(index)), 13) for index in index_I]).reshape(-1, 13)
    choices = options.max_objects - options.min_objects + 1
    jitter = 2 * drawn[:, 1:] - 1
    return Views(
        count_I=options.min_objects + (drawn[:, 0] * choices).astype(np.int64),
        camera_I3=np.asarray(camera.POSITION) + camera.JITTER * jitter[:, :3],
        lights_I33=np.asarray(LIGHTS) + LIGHT_JITTER * jitter[:, 3:].reshape(-1, 3, 3),
    )


def draw_objects(
    seed: int, split: str, index_I: Ints, attempt_I: Ints, views: Views, options: SceneOptions
) -> tuple[Objects, Bools]:
    """Objects of the scenes with these numbers, and (I,): did all of them find a place?

    A scene that did not, or in which an object is hidden, is drawn again with the next attempt.
    """
    key, places = _split_key(split), options.max_objects
    width = ATTRIBUTES_DRAWN + 2 * TRIES
    keys = zip(index_I.tolist(), attempt_I.tolist(), strict=True)
    drawn = np.array([_uniform(seed, (key, *one), places * width) for one in keys])
    drawn = drawn.reshape(-1, places, width)
    size, shape, material, color = _attributes(drawn[..., :4], options)
    tries_IOT2 = HALF_WIDTH * (2 * drawn[..., ATTRIBUTES_DRAWN:].reshape(-1, places, TRIES, 2) - 1)
    xy, placed = _place(tries_IOT2, np.asarray(RADIUS)[size], views)
    objects = Objects(
        size_IO=size,
        shape_IO=shape,
        material_IO=material,
        color_IO=color,
        xy_IO2=xy,
        rotation_IO=360.0 * drawn[..., 4],
    )
    return objects, placed


def _attributes(drawn_IO4: Floats, options: SceneOptions) -> tuple[Ints, Ints, Ints, Ints]:
    """Numbers in [0, 1) -> indices of size, shape, material and colour; the shape decides the colours."""
    shapes = [shape for shape in SHAPES if shape in options.allowed]
    colors = [sorted(COLORS.index(color) for color in set(options.allowed[shape])) for shape in shapes]
    table = np.zeros((len(shapes), len(COLORS)), np.int64)
    for row, chosen in zip(table, colors, strict=True):
        row[: len(chosen)] = chosen
    choice = (drawn_IO4[..., 1] * len(shapes)).astype(np.int64)
    among = np.array([len(chosen) for chosen in colors])[choice]
    return (
        (drawn_IO4[..., 0] * len(SIZES)).astype(np.int64),
        np.array([SHAPES.index(shape) for shape in shapes])[choice],
        (drawn_IO4[..., 2] * len(MATERIALS)).astype(np.int64),
        table[choice, (drawn_IO4[..., 3] * among).astype(np.int64)],
    )


def _place(tries_IOT2: Floats, radius_IO: Floats, views: Views) -> tuple[Floats, Bools]:
    """The first try of each object that keeps its distance from all earlier ones: (I, O, 2), placed (I,).

    Distances are between circles of the objects' radii, beyond which the corners of cubes stand out.
    """

    def along(axis: str) -> Floats:
        x, y, _ = camera.directions()[axis]
        return np.asarray(tries_IOT2[..., 0] * x + tries_IOT2[..., 1] * y)

    across_IOT, away_IOT = along("right"), along("behind")
    scenes, places = radius_IO.shape
    rows = np.arange(scenes)
    chosen_IO = np.zeros((scenes, places), np.int64)
    placed_I = np.ones(scenes, bool)
    for place in range(places):
        good_IT = np.ones((scenes, TRIES), bool)
        for earlier in range(place):
            x = across_IOT[:, place] - across_IOT[rows, earlier, chosen_IO[:, earlier]][:, None]
            y = away_IOT[:, place] - away_IOT[rows, earlier, chosen_IO[:, earlier]][:, None]
            apart = (radius_IO[:, place] + radius_IO[:, earlier] + GAP)[:, None]
            good_IT &= (np.abs(x) >= MARGIN) & (np.abs(y) >= MARGIN) & (x * x + y * y >= apart * apart)
        chosen_IO[:, place] = good_IT.argmax(1)
        placed_I &= good_IT.any(1) | (place >= views.count_I)
    return np.take_along_axis(tries_IOT2, chosen_IO[:, :, None, None], 2)[:, :, 0], placed_I
