"""torchvision's ResNet, cut after a stage."""

from __future__ import annotations

import logging
from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn

from hacore.interfaces import Cells, ImageEncoder, Sizes, grid_positions
from hacore_resnet import Config, weights

# What all of torchvision's ImageNet weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResNet(ImageEncoder[Config]):
    """The stages of a ResNet up to a chosen one: images (I, 3, H, W) -> Cells (I, N, C).

    He et al. 2015 (arXiv 1512.03385); ResNet-101 pretrained on ImageNet is the larger encoder of
    Malinowski et al. 2018, which stage it takes is open. Stage s has cells of 2^(s+1) pixels a side
    and 64 * 2^(s-1) channels (four times as many from depth 50 on).

    Pretrained weights, by name or from a file, bring ImageNet's mean and deviation with them. A
    frozen encoder has no gradient and its batch norm stays in eval mode whatever ``train`` says.
    On the meta device no weights are looked for, as there is nothing to fill.

    Raises ValueError for images that do not have three channels, a pool larger than the grid and
    weights torchvision does not have; DataError for weights that cannot be fetched or do not match.
    """

    freeze = "frozen = true"

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        channels, height, width = sizes.image
        if channels != 3:
            raise ValueError(f"images have {channels} channels and a ResNet takes 3; use another encoder")
        # The first convolution, the max pooling and every stage but the first halve, rounding up.
        cell = 2 ** (config.stage + 1)
        rows, columns = -(-height // cell), -(-width // cell)
        if config.pool and (config.pool[0] > rows or config.pool[1] > columns):
            raise ValueError(
                f"pool = {list(config.pool)} is more than the {rows}x{columns} grid of stage {config.stage}; "
                "use a smaller pool, an earlier stage or larger images"
            )
        self.grid = config.pool or (rows, columns)

        whole = getattr(torchvision.models, f"resnet{config.depth}")(weights=None)
        used = ["conv1", "bn1", "relu", "maxpool", *(f"layer{stage}" for stage in range(1, config.stage + 1))]
        self.trunk = nn.Sequential(OrderedDict((name, getattr(whole, name)) for name in used))
        self.out_channels = 64 * 2 ** (config.stage - 1) * (4 if config.depth >= 50 else 1)
        self.pool = nn.AdaptiveAvgPool2d(config.pool) if config.pool else nn.Identity()
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(self.grid), persistent=False)

        if config.weights and not self.image_mean.is_meta:
            self._load(config.weights, dropped=whole.state_dict().keys() - self.trunk.state_dict().keys())
        elif config.frozen and not config.weights:
            logging.getLogger("hacore").warning(
                "the resnet is frozen with random weights and will never learn; "
                "give weights, or set frozen = false"
            )
        if config.frozen:
            self.trunk.requires_grad_(False)
        self.train()

    def _load(self, name: str, dropped: set[str]) -> None:
        if weights.is_file_name(name):
            state = weights.read(name)
        else:
            state = weights.download(self.config.depth, name)
        state = weights.check(state, self.trunk.state_dict(), dropped, source=name)
        # Not strict: all that check lets be missing are counts of batches.
        self.trunk.load_state_dict(state, strict=False)
        self.image_mean.copy_(torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.image_std.copy_(torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> ResNet:
        super().train(mode)
        if self.config.frozen:
            self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> Cells:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            features_ICHW: Tensor = self.pool(self.trunk(self.normalise(images)))
        return Cells(
            features=features_ICHW.flatten(2).transpose(1, 2), positions=self.positions, grid=self.grid
        )
