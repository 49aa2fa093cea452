"""Pictures a second of the CLEVR generator, by size, and what its savings are worth.

    python benchmarks/clevr_render.py                            # CPU, all threads
    OMP_NUM_THREADS=1 python benchmarks/clevr_render.py          # one core
    python benchmarks/clevr_render.py --device cuda --images 4096 --size 128 128 --size 320 480

Columns: whole, what ``make_scenes`` takes (drawing scenes until all objects are visible, pictures, and
records), and its parts scenes and pictures. Then the pictures alone by other means, as parts of the
generator's speed: with every pixel of the ground shaded instead of every second both ways, and drawn one by
one instead of in groups. The alternatives take turns; the minimum over the repeats counts.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hacore_clevr.generate import render
from hacore_clevr.generate.layout import Objects, Views
from hacore_clevr.generate.scenes import draw_scenes, make_scenes
from rich.console import Console
from rich.table import Table
from torch import Tensor

Size = tuple[int, int]


def with_step(views: Views, objects: Objects, size: Size, device: str, step: int) -> Tensor:
    """Pictures whose ground is shaded at every so many pixels."""
    original = render.STEP
    render.STEP = step
    try:
        return render.render(views, objects, size, device)
    finally:
        render.STEP = original


def one_by_one(views: Views, objects: Objects, size: Size, device: str) -> None:
    for row in range(len(views)):
        rows = np.array([row])
        render.render(views.take(rows), objects.take(rows), size, device)


def seconds(work: Callable[[], Any], device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(size: Size, images: int, device: str, repeats: int) -> dict[str, float]:
    """Seconds by name."""
    views, objects = draw_scenes(0, "train", 0, images, None, device)
    works: dict[str, Callable[[], Any]] = {
        "whole": lambda: make_scenes(0, "train", 0, images, None, device, size),
        "scenes": lambda: draw_scenes(0, "train", 0, images, None, device),
        "pictures": lambda: render.render(views, objects, size, device),
        "all ground": lambda: with_step(views, objects, size, device, 1),
        "one by one": lambda: one_by_one(views, objects, size, device),
    }
    for work in works.values():
        work()
    taken = [{name: seconds(work, device) for name, work in works.items()} for _ in range(repeats)]
    return {name: min(turn[name] for turn in taken) for name in works}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--images", type=int, default=64, help="pictures at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--size", type=int, nargs=2, action="append", metavar=("HEIGHT", "WIDTH"), help="may be given again"
    )
    options = parser.parse_args()
    sizes = [
        (height, width) for height, width in options.size or [(64, 64), (128, 128), (224, 224), (320, 480)]
    ]
    threads, version = torch.get_num_threads(), torch.__version__
    where = platform.processor() if options.device == "cpu" else torch.cuda.get_device_name()
    table = Table(
        title=f"{options.device} {where}, {threads} threads, torch {version}, {options.images} images"
    )
    table.add_column("size")
    for name in ("whole", "scenes", "pictures"):
        table.add_column(f"{name}, images/s", justify="right")
    for name in ("all ground", "one by one"):
        table.add_column(f"{name}, ratio", justify="right")
    for size in sizes:
        taken = measure(size, options.images, options.device, options.repeats)
        rates = [f"{options.images / taken[name]:.1f}" for name in ("whole", "scenes", "pictures")]
        ratios = [f"{taken['pictures'] / taken[name]:.2f}" for name in ("all ground", "one by one")]
        table.add_row(f"{size[0]}x{size[1]}", *rates, *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
