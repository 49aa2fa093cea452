"""Draws docs/images/clevr.png: generated scenes, drawn as CLEVR's pictures are.

python docs/images/clevr.py docs/images/clevr.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from hacore_clevr.generate.scenes import make_scenes
from PIL import Image

ROWS, COLUMNS, SIZE = 2, 3, (192, 288)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    _, pictures = make_scenes(options.seed, "test", 0, ROWS * COLUMNS, size=SIZE)
    grid = pictures.reshape(ROWS, COLUMNS, 3, *SIZE).transpose(0, 3, 1, 4, 2)
    sheet = np.ascontiguousarray(grid).reshape(ROWS * SIZE[0], COLUMNS * SIZE[1], 3)
    Image.fromarray(sheet).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
