import pytest
import torch

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


@pytest.fixture(scope="session")
def make_selector():
    """make_selector(cls, config, cells, channels): a selector in training mode, and its forward as a
    function of features (Q, N, C). cells: N, a grid of one row, or (rows, columns).
    """

    def make(cls, config, cells, channels, dtype=torch.float32):
        grid = (1, cells) if isinstance(cells, int) else cells
        sizes = Sizes(image=(3, 8, 8), words=5, answers=3, grid=grid, cell_channels=channels)
        selector = build(cls, config, sizes).to(dtype)
        question = Question(torch.zeros(1, 7))

        def select(x_QNC):
            return selector(Cells(features=x_QNC, positions=grid_positions(grid), grid=grid), question)

        return selector, select

    return make
