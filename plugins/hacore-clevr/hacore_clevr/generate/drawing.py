"""Draws the scenes and pictures of some blocks of an unfinished data set."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from hacore_clevr.generate.parts import Bytes, Done, Job, scenes_part, write_part
from hacore_clevr.generate.scenes import make_scenes


def make_pictures(job: Job) -> Done:
    """Makes the scenes and pictures of some blocks."""
    start, stop = job.split.rows(job.blocks[0])[0], job.split.rows(job.blocks[-1])[1]
    plan, name = job.plan, job.split.name
    options = plan.scene_options(job.split)
    scenes, pictures = make_scenes(plan.seed, name, start, stop - start, options, job.device, plan.size)
    if not plan.packed:
        _save(
            [job.work / "images" / name / scene["image_filename"] for scene in scenes], pictures, job.threads
        )
    for block in job.blocks:
        first, last = job.split.rows(block)
        write_part(scenes_part(job.work, name, block), scenes[first - start : last - start])
    return Done(split=job.split, blocks=job.blocks, pictures=pictures if plan.packed else None)


def _save(paths: Sequence[Path], pictures: Bytes, threads: int) -> None:
    """Writes PNG files."""

    def save(path: Path, picture: Bytes) -> None:
        Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(path, compress_level=6)

    paths[0].parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(save, paths, pictures))
