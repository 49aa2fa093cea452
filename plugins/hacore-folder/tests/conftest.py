"""Small folders of one's own data, drawn."""

import csv
import json
import random

import pytest
from PIL import Image, ImageDraw

COLORS = {"red": (200, 40, 40), "green": (40, 160, 40), "blue": (40, 60, 210)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))


def draw(path, color, left):
    image = Image.new("RGB", (32, 24), "white")
    start = 3 if left else 19
    ImageDraw.Draw(image).rectangle((start, 7, start + 9, 16), fill=COLORS[color])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def rows_of(root, pictures):
    """Draws pictures; two rows (image, question, answer) about each."""
    chance = random.Random(0)
    rows = []
    for number in range(pictures):
        color, left = chance.choice(sorted(COLORS)), chance.random() < 0.5
        name = f"{number:03}.png"
        draw(root / name, color, left)
        rows.append((name, "what color is it?", color))
        rows.append((name, "is it on the left?", "yes" if left else "no"))
    return rows


def write_csv(path, rows, columns=("image", "question", "answer"), encoding="utf-8", **form):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, **form)
        writer.writerow(columns)
        writer.writerows(rows)


def write_table(path, rows):
    """The rows as CSV, JSONL or JSON, as the suffix says."""
    records = [dict(zip(("image", "question", "answer"), row, strict=True)) for row in rows]
    if path.suffix == ".csv":
        write_csv(path, rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        path.write_text(json.dumps(records, indent=1))


@pytest.fixture(scope="session")
def make_folder():
    """make_folder(root, pictures=20): a folder with pictures and a questions.csv; returns the rows."""

    def make(root, pictures=20):
        rows = rows_of(root, pictures)
        write_csv(root / "questions.csv", rows)
        return rows

    return make


@pytest.fixture
def write():
    """write(path, rows, columns, encoding, **form) writes a CSV file."""
    return write_csv


@pytest.fixture
def mine(tmp_path, make_folder):
    """20 pictures, two questions about each."""
    make_folder(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def picture():
    """picture(path, color="red", left=True) draws one."""
    return lambda path, color="red", left=True: draw(path, color, left)
