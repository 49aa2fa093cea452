"""The contract of image encoders passes right encoders and names what is wrong with others."""

import attrs
import pytest
import torch
from torch import nn

from hacore.interfaces import Cells, ImageEncoder, grid_positions


class GoodCNN(ImageEncoder):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        channels, height, width = sizes.image
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 8, stride=8), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1)
        )
        self.out_channels = 5
        self.grid = (height // 8, width // 8)
        self.register_buffer("positions", grid_positions(self.grid), persistent=False)

    def forward(self, images):
        features = self.layers(self.normalise(images)).flatten(2).transpose(1, 2)
        return Cells(features=features, positions=self.positions, grid=self.grid)


class NoScale(GoodCNN):
    def normalise(self, images):
        return images.to(self.image_mean.dtype)


class ColumnFirst(GoodCNN):
    def forward(self, images):
        features = self.layers(self.normalise(images)).transpose(2, 3).flatten(2).transpose(1, 2)
        return Cells(features=features, positions=self.positions, grid=self.grid)


class Reshaped(GoodCNN):
    """Reads the memory of (C, N) as (N, C)."""

    def forward(self, images):
        features_ICHW = self.layers(self.normalise(images))
        features = features_ICHW.reshape(len(images), -1, 5)
        return Cells(features=features, positions=self.positions, grid=self.grid)


class YBeforeX(GoodCNN):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.positions = self.positions.flip(1)


class OneTooMany(GoodCNN):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.grid = (self.grid[0] + 1, self.grid[1])


class BatchStatistics(GoodCNN):
    def forward(self, images):
        cells = super().forward(images)
        return attrs.evolve(cells, features=cells.features - cells.features.mean(0))


class PlainMean(GoodCNN):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        mean = self.image_mean
        del self.image_mean
        self.image_mean = mean


def test_a_right_image_encoder_passes(failures):
    assert failures("image_encoder", GoodCNN) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (NoScale, "test_bytes_and_fractions_are_the_same_image", "call self.normalise(images)"),
        (ColumnFirst, "test_cells_lie_where_the_image_changes", "in the order of the grid, row by row"),
        (Reshaped, "test_cells_lie_where_the_image_changes", "in the order of the grid, row by row"),
        (YBeforeX, "test_positions_run_row_by_row", "positions must hold (x, y)"),
        (
            OneTooMany,
            "test_result",
            "features has shape (3, 48, 5); must be (I, N, out_channels) = (3, 56, 5)",
        ),
        (BatchStatistics, "test_images_do_not_meet", "an image alone and in a batch"),
        (PlainMean, "test_statistics_are_buffers", "image_mean must stay a buffer"),
    ],
)
def test_wrong_image_encoders_fail(failures, cls, test, words):
    reports = failures("image_encoder", cls)
    assert test in reports, reports
    assert words in reports[test]


def test_frozen_parameters_need_no_gradient(failures):
    class Frozen(GoodCNN):
        def __init__(self, config, sizes):
            super().__init__(config, sizes)
            self.requires_grad_(False)

    assert failures("image_encoder", Frozen) == {}
    assert torch.is_grad_enabled()
