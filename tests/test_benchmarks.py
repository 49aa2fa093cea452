"""What the programs in benchmarks/ measure with, where a mistake would not be seen in their numbers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hacore_sort_of_clevr.scenes import HALF, SIZE, draw, sample_scenes

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="session")
def kept_cells():
    found = importlib.util.spec_from_file_location("kept_cells", BENCHMARKS / "kept_cells.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("grid", [(10, 10), (5, 7), (1, 1)])
def test_cells_on_an_object_are_those_its_shape_reaches(kept_cells, grid):
    scenes = sample_scenes(np.random.PCG64(3), 5)
    rows, columns = grid
    for scene, image in zip(scenes, draw(scenes), strict=True):
        on = kept_cells.touched(image, grid).reshape(-1, rows, columns)
        for (shape, x, y), found in zip(scene, on, strict=True):
            expected = np.zeros(grid, bool)
            for down in range(-HALF, HALF):
                for right in range(-HALF, HALF):
                    if shape == 1 and (down + 0.5) ** 2 + (right + 0.5) ** 2 > HALF**2:
                        continue
                    row = int((y + down + 0.5) / SIZE * rows)
                    expected[row, int((x + right + 0.5) / SIZE * columns)] = True
            np.testing.assert_array_equal(found, expected)
