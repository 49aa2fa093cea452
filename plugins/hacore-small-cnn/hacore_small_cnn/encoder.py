"""A stack of convolutions from scratch, as the Relation Network paper trains on CLEVR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hacore.interfaces import Cells, ImageEncoder, Sizes, grid_positions
from hacore_small_cnn import DEFAULT_GROUPS, Config


class SmallCNN(ImageEncoder[Config]):
    """Layers of convolution, norm and ReLU: images (I, C, H, W) -> Cells (I, N, C).

    Santoro et al. 2017 (arXiv 1706.01427) use four layers, 3x3, stride 2, 24 channels, batch norm.
    The widths and depth in Malinowski et al. 2018 are open; the defaults here are options.

    Raises ValueError if a layer's input is smaller than its stride: cells made mostly of padding.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        strides = config.strides if len(config.strides) > 1 else config.strides * len(config.channels)
        padding = config.kernel // 2
        channels, rows, columns = sizes.image
        layers: list[nn.Module] = []
        for number, (width, stride) in enumerate(zip(config.channels, strides, strict=True), 1):
            if min(rows, columns) < stride:
                raise ValueError(
                    f"images of {sizes.image[1]}x{sizes.image[2]} are too small: layer {number} of "
                    f"{len(strides)} would move by {stride} over a {rows}x{columns} grid; "
                    "use fewer layers or smaller strides"
                )
            # A norm has a bias of its own.
            layers.append(
                nn.Conv2d(channels, width, config.kernel, stride, padding, bias=config.norm == "off")
            )
            if config.norm == "batch":
                layers.append(nn.BatchNorm2d(width))
            elif config.norm == "group":
                layers.append(nn.GroupNorm(config.groups or DEFAULT_GROUPS, width))
            layers.append(nn.ReLU(inplace=True))
            rows, columns = ((side + 2 * padding - config.kernel) // stride + 1 for side in (rows, columns))
            channels = width
        self.layers = nn.Sequential(*layers)
        self.out_channels = channels
        self.grid = (rows, columns)
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(self.grid), persistent=False)

    def forward(self, images: Tensor) -> Cells:
        # Convolutions are faster so, and the cells come out in order. The weights stay as they are: the
        # fused optimisers take a weight and its saved state for arrays of one order.
        images = self.normalise(images).contiguous(memory_format=torch.channels_last)
        features_ICHW: Tensor = self.layers(images)
        return Cells(
            features=features_ICHW.flatten(2).transpose(1, 2), positions=self.positions, grid=self.grid
        )
