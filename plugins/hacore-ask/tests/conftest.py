"""Pictures to ask about."""

import pytest
from PIL import Image, ImageDraw


@pytest.fixture
def picture():
    """picture(path, color="red", left=True) draws a square on white."""

    def draw(path, color="red", left=True):
        image = Image.new("RGB", (32, 24), "white")
        start = 3 if left else 19
        ImageDraw.Draw(image).rectangle((start, 7, start + 9, 16), fill=color)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)

    return draw
