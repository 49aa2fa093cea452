"""A stack of convolutions, as the Relation Network paper trains on CLEVR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hacore.errors import RunError
from hacore.interfaces import Cells, ImageEncoder, Sizes, grid_positions
from hacore.machine.files import load_tensors
from hacore.machine.weight_files import require_finite
from hacore.model.weights import model_weights, named
from hacore.runs.choosing import finished_run
from hacore_small_cnn import DEFAULT_GROUPS, Config


class SmallCNN(ImageEncoder[Config]):
    """Layers of convolution, norm and ReLU: images (I, C, H, W) -> Cells (I, N, C).

    Santoro et al. 2017 (arXiv 1706.01427) use four layers, 3x3, stride 2, 24 channels, batch norm.
    The widths and depth in Malinowski et al. 2018 are open; the defaults here are options.

    With ``weights``, those of the image encoder of a finished run, and its pixels' mean and deviation, which
    are kept wherever the model goes. A frozen encoder has no gradient, and its batch norm stays in eval mode
    whatever ``train`` says.

    Raises ValueError if a layer's input is smaller than its stride: cells made mostly of padding; RunError
    for a run whose image encoder has other tensors, or none.
    """

    freeze = "frozen = true"

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
        if config.weights and sizes.pretrained and not self.image_mean.is_meta:
            self._load(config.weights)
        if config.frozen:
            self.requires_grad_(False)
        self.train()

    def _load(self, run: str) -> None:
        path = finished_run(run).checkpoint()
        theirs = named(model_weights(load_tensors(path)[0]), "image_encoder.")
        own = self.state_dict()
        wrong = sorted(theirs.keys() ^ own.keys()) or [
            f"{name} {list(theirs[name].shape)} instead of {list(own[name].shape)}"
            for name in own
            if theirs[name].shape != own[name].shape
        ]
        if wrong:
            raise RunError(
                f"weights = {run!r}: the image encoder of {path} does not fit, {wrong[0]} and "
                f"{len(wrong) - 1} others differ; use the options that it has in the run's spec.toml"
            )
        require_finite(theirs, str(path), "use another run")
        self.load_state_dict(theirs)

    def train(self, mode: bool = True) -> SmallCNN:
        return super().train(mode and not self.config.frozen)

    def forward(self, images: Tensor) -> Cells:
        # Convolutions are faster so, and the cells come out in order. The weights stay as they are: the
        # fused optimisers take a weight and its saved state for arrays of one order.
        images = self.normalise(images).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            features_ICHW: Tensor = self.layers(images)
        return Cells(
            features=features_ICHW.flatten(2).transpose(1, 2), positions=self.positions, grid=self.grid
        )
