"""A miniature of DAQUAR: its files of questions, and drawn images."""

import pytest
from PIL import Image, ImageDraw

COLORS = {"red": (200, 40, 40), "green": (40, 160, 40), "blue": (40, 60, 210)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))


def draw(path, color, boxes):
    image = Image.new("RGB", (32, 24), "white")
    for box in range(boxes):
        ImageDraw.Draw(image).rectangle((2 + 10 * box, 7, 9 + 10 * box, 16), fill=COLORS[color])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def triples(name, color, boxes):
    """Three questions about an image, the last one with several answers."""
    return [
        (f"what color is the box in the {name} ?", color, name),
        ("how many boxes are there ?", str(boxes), name),
        ("what objects are here ?", "box, wall" if boxes > 1 else "wall, box", name),
    ]


def write(path, lines):
    path.write_text("".join(f"{line}\n" for triple in lines for line in triple))


def write_daquar(root, train=20, test=6, categories=894, folder="images"):
    """The official files and ``train + test`` images in a folder; returns it."""
    parts = {"train": [], "test": []}
    for number in range(1, train + test + 1):
        color, boxes = sorted(COLORS)[number % 3], 1 + number % 2
        draw(root / folder / f"image{number}.png", color, boxes)
        parts["train" if number <= train else "test"] += triples(f"image{number}", color, boxes)
    for split, lines in parts.items():
        write(root / f"qa.{categories}.raw.{split}.format_triple", lines)
    return root


@pytest.fixture(scope="session")
def make_daquar():
    """make_daquar(root, train=20, test=6, categories=894, folder="images")"""
    return write_daquar


@pytest.fixture
def write_triples():
    """write_triples(path, [(question, answer, image), ...])"""
    return write


@pytest.fixture
def daquar(tmp_path):
    """20 training and 6 test images, three questions about each."""
    return write_daquar(tmp_path / "daquar")
