"""How many questions a second are made, on one core, by group of families.

    python benchmarks/clevr_questions.py
    python benchmarks/clevr_questions.py --images 64      # does the program work?

One process, one thread. Scenes are drawn by the generator's own rules before anything is timed. The first
row asks of all families, 10 questions an image, as data are made; the others ask only of the families of
one file, as many as there are, at most 10 an image. Time includes compiling the scenes, the search, the
wording and the programs in the official format, but not writing files. Median and minimum of the repeats.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from hacore_clevr.generate.questions import make_questions
from hacore_clevr.generate.scenes import draw_scenes, scene_records
from hacore_clevr.generate.templates import Template, load_templates
from rich.console import Console
from rich.table import Table

QUESTIONS = 10


def measure(
    scenes: Sequence[dict[str, Any]], templates: Sequence[Template], repeats: int
) -> tuple[int, list[float]]:
    """How many questions were made of the scenes, and the seconds of each repeat."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        questions = make_questions(scenes, min(QUESTIONS, len(templates)), 0, "train", templates)
        seconds.append(time.perf_counter() - start)
    return len(questions), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast questions about CLEVR scenes are made.")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.images < 1 or given.repeats < 1:
        parser.error("--images and --repeats must be at least 1")
    scenes = scene_records(*draw_scenes(0, "train", 0, given.images), "train", 0)
    templates = load_templates()
    groups = [("all", templates)]
    groups += [(file, tuple(some)) for file, some in groupby(templates, key=lambda template: template.file)]
    table = Table(title=f"{given.images} scenes; {platform.processor() or platform.machine()}, one process")
    for column in ("families", "number", "questions", "a second", "at best"):
        table.add_column(column, justify="left" if column == "families" else "right")
    for name, some in groups:
        count, seconds = measure(scenes, some, given.repeats)
        median, best = statistics.median(seconds), min(seconds)
        table.add_row(
            name.removesuffix(".json"),
            str(len(some)),
            str(count),
            f"{count / median:,.0f}",
            f"{count / best:,.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
