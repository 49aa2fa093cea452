"""torchvision's ResNet, cut after a stage."""

from __future__ import annotations

from collections import OrderedDict

import torchvision
from torch import nn

from hacore.interfaces import Sizes
from hacore_resnet import Config, weights
from hacore_resnet.cut import CutNetwork

# What all of torchvision's ImageNet weights of ResNets were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResNet(CutNetwork[Config]):
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

    def __init__(self, config: Config, sizes: Sizes) -> None:
        name = f"resnet{config.depth}"
        whole = getattr(torchvision.models, name)(weights=None)
        used = ["conv1", "bn1", "relu", "maxpool", *(f"layer{stage}" for stage in range(1, config.stage + 1))]
        super().__init__(
            config,
            sizes,
            nn.Sequential(OrderedDict((layer, getattr(whole, layer)) for layer in used)),
            network="a ResNet",
            layer=f"stage {config.stage}",
        )
        if self.wants_weights:
            given = config.weights
            file = weights.is_file_name(given)
            self.load(
                weights.read(given) if file else weights.download(name, given, f"ResNet-{config.depth}"),
                dropped=whole.state_dict().keys() - self.trunk.state_dict().keys(),
                advice="check depth, and that the file is of a ResNet of torchvision",
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
            )
