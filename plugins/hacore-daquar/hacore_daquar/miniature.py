"""A small data set in the form of the official files, with drawn images, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw

from hacore_daquar.official import SPLITS, file_name

Triple: TypeAlias = tuple[str, str, str]
COLORS = {"red": (200, 40, 40), "green": (40, 160, 40), "blue": (40, 60, 210)}


def _draw(path: Path, color: str, boxes: int) -> None:
    image = Image.new("RGB", (32, 24), "white")
    for box in range(boxes):
        ImageDraw.Draw(image).rectangle((2 + 10 * box, 7, 9 + 10 * box, 16), fill=COLORS[color])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _triples(name: str, color: str, boxes: int) -> list[Triple]:
    """The last of three with several answers."""
    return [
        (f"what color is the box in the {name} ?", color, name),
        ("how many boxes are there ?", str(boxes), name),
        ("what objects are here ?", "box, wall" if boxes > 1 else "wall, box", name),
    ]


def write_triples(path: Path, triples: Iterable[Triple]) -> None:
    """Write (question, answer, image), three lines each."""
    path.write_text("".join(f"{line}\n" for triple in triples for line in triple), encoding="utf-8")


def write_daquar(
    root: Path, train: int = 20, test: int = 6, categories: int = 894, folder: str = "images"
) -> Path:
    """Write the official files and ``train + test`` images, with three questions about each; returns root."""
    parts: dict[str, list[Triple]] = {split: [] for split in SPLITS}
    for number in range(1, train + test + 1):
        color, boxes = sorted(COLORS)[number % 3], 1 + number % 2
        _draw(root / folder / f"image{number}.png", color, boxes)
        parts["train" if number <= train else "test"] += _triples(f"image{number}", color, boxes)
    for split, triples in parts.items():
        write_triples(root / file_name(categories, split), triples)
    return root
