"""Scenes in the official format together with their pictures.

Scene number i of a split depends on the seed, the split's name and i: not on how many are made at once,
nor on the size of the pictures.

Source: the image generator of Johnson et al. 2017, arXiv 1612.06890.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hacore_clevr import camera
from hacore_clevr.domain import COLORS, MATERIALS, SHAPES, SIZES
from hacore_clevr.generate.layout import (
    Bools,
    Objects,
    SceneOptions,
    Views,
    draw_objects,
    draw_views,
    joined,
)
from hacore_clevr.generate.raster import Size
from hacore_clevr.generate.render import render, shown_pixels

COUNTED = (112, 168)
"""Height and width at which visible pixels are counted, whatever the size of the pictures.

A scene must not depend on the size of its picture. 200 pixels of the official 480x320 are 25 here, at an
eighth of that picture's work.
"""

MOST_ATTEMPTS = 10_000
AT_ONCE = 16
"""Attempts that are looked at together."""


def visible(views: Views, objects: Objects, min_pixels: int, device: torch.device | str = "cpu") -> Bools:
    """(I,): does every object show enough pixels? min_pixels: at the official size."""
    shown_IO = shown_pixels(views, objects, COUNTED, device).cpu().numpy()
    least = min_pixels * COUNTED[0] * COUNTED[1] / (camera.WIDTH * camera.HEIGHT)
    empty_IO = np.arange(shown_IO.shape[1]) >= views.count_I[:, None]
    return np.asarray(((shown_IO >= least) | empty_IO).all(1))


def draw_scenes(
    seed: int,
    split: str,
    start: int,
    count: int,
    options: SceneOptions | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Views, Objects]:
    """Scenes number start, start + 1, ... of a split, as columns, all objects placed and visible.

    A scene in which an object finds no place or is hidden is drawn again with the same view and number
    of objects, as the public generator does. ValueError where the options leave no scene.
    """
    options = options or SceneOptions()
    index = np.arange(start, start + count)
    views = draw_views(seed, split, index, options)
    rows = np.arange(count)
    done_rows: list[npt.NDArray[np.int64]] = []
    done: list[Objects] = []
    attempt = 0
    while not attempt or (len(rows) and attempt < MOST_ATTEMPTS):
        # Where few scenes are left, some attempts of each at once; the first good one counts.
        ahead = min(max(1, AT_ONCE // max(1, len(rows))), MOST_ATTEMPTS - attempt)
        tried, attempts = np.repeat(rows, ahead), np.tile(np.arange(attempt, attempt + ahead), len(rows))
        here = views.take(tried)
        objects, good = draw_objects(seed, split, index[tried], attempts, here, options)
        placed = np.flatnonzero(good)
        good[placed] = visible(here.take(placed), objects.take(placed), options.min_pixels, device)
        solved = good.reshape(-1, ahead).any(1)
        first = np.flatnonzero(solved) * ahead + good.reshape(-1, ahead).argmax(1)[solved]
        done_rows.append(rows[solved])
        done.append(objects.take(first))
        rows = rows[~solved]
        attempt += ahead
    if len(rows):
        raise ValueError(
            f"scene {index[rows[0]]} of split {split!r} and {len(rows) - 1} more: objects found no place or "
            f"were hidden in all of {MOST_ATTEMPTS} attempts; allow fewer objects or fewer min_pixels"
        )
    order = np.argsort(np.concatenate(done_rows))
    return views, joined(done).take(order)


def picture_name(split: str, index: int) -> str:
    """Name of a picture's file."""
    return f"CLEVR_{split}_{index:06d}.png"


def scene_records(views: Views, objects: Objects, split: str, start: int) -> list[dict[str, Any]]:
    """Scenes as the official files hold them, as plain JSON values; the first is number ``start``."""
    coords_IO3 = objects.coords_IO3()
    pixels_IO3 = camera.project(coords_IO3, views.camera_I3)
    records = []
    for row, count in enumerate(views.count_I.tolist()):
        coords = coords_IO3[row, :count].tolist()
        directions = camera.directions()
        things = [
            {
                "shape": SHAPES[objects.shape_IO[row, place]],
                "size": SIZES[objects.size_IO[row, place]],
                "color": COLORS[objects.color_IO[row, place]],
                "material": MATERIALS[objects.material_IO[row, place]],
                "3d_coords": coords[place],
                "pixel_coords": _pixel(pixels_IO3[row, place]),
                "rotation": float(objects.rotation_IO[row, place]),
            }
            for place in range(count)
        ]
        records.append(
            {
                "image_filename": picture_name(split, start + row),
                "image_index": start + row,
                "split": split,
                "objects": things,
                "directions": directions,
                "relationships": camera.relationships(coords, directions),
            }
        )
    return records


def _pixel(projected_3: npt.NDArray[np.float64]) -> list[int | float]:
    """Whole pixels, as in the official files, and depth."""
    x, y, depth = projected_3.tolist()
    return [round(x), round(y), depth]


def make_scenes(
    seed: int,
    split: str,
    start: int,
    count: int,
    options: SceneOptions | None = None,
    device: torch.device | str = "cpu",
    size: Size = (128, 128),
) -> tuple[list[dict[str, Any]], npt.NDArray[np.uint8]]:
    """Scenes number start, start + 1, ... of a split, and their pictures, (count, 3, *size).

    Any two calls with the same seed, split and options agree on every scene that both make; pictures of
    one size agree to the last bit on one kind of device.
    """
    views, objects = draw_scenes(seed, split, start, count, options, device)
    pictures = render(views, objects, size, device).cpu().numpy()
    return scene_records(views, objects, split, start), pictures
