"""A network that was made to classify, cut at a layer: what every such image encoder does."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from hacore.errors import describe_error
from hacore.interfaces import Cells, ImageEncoder, Sizes, grid_positions
from hacore_resnet import weights


class Options(Protocol):
    """What the config of such an encoder has, and options of its own."""

    @property
    def weights(self) -> str: ...
    @property
    def frozen(self) -> bool: ...
    @property
    def pool(self) -> tuple[int, int] | None: ...


OptionsT = TypeVar("OptionsT", bound=Options)


class CutNetwork(ImageEncoder[OptionsT]):
    """The first layers of a network, ``trunk``: images (I, 3, H, W) -> Cells (I, N, C).

    network: its name in errors, "a ResNet". layer: where it is cut, "stage 4"; its first word
    is what errors say to choose an earlier one of. Grid and channels are those of what ``maps`` gives.

    A frozen network has no gradient, and its batch norm and dropout stay in eval mode whatever ``train``
    says. A class derived from it calls ``load`` where ``wants_weights``. Raises ValueError for images that do
    not have three channels or that the network does not take, a layer that gives no map, and a pool larger
    than the grid.
    """

    freeze = "frozen = true"

    def __init__(
        self,
        config: OptionsT,
        sizes: Sizes,
        trunk: nn.Module,
        *,
        network: str,
        layer: str,
    ) -> None:
        super().__init__(config, sizes)
        if sizes.image[0] != 3:
            raise ValueError(
                f"images have {sizes.image[0]} channels and {network} takes 3; use another encoder"
            )
        self.trunk = trunk
        self.out_channels, *grid = self._map_size(sizes, network, layer)
        if config.pool and (config.pool[0] > grid[0] or config.pool[1] > grid[1]):
            raise ValueError(
                f"pool = {list(config.pool)} is more than the {grid[0]}x{grid[1]} grid of {layer}; "
                f"use a smaller pool, an earlier {layer.split()[0]} or larger images"
            )
        self.grid = config.pool or (grid[0], grid[1])
        self.pool = nn.AdaptiveAvgPool2d(config.pool) if config.pool else nn.Identity()
        self.positions: Tensor
        self.register_buffer("positions", grid_positions(self.grid), persistent=False)
        if config.frozen and not config.weights:
            logging.getLogger("hacore").warning(
                f"{network} is frozen with random weights and will never learn; "
                "give weights, or set frozen = false"
            )
        if config.frozen:
            trunk.requires_grad_(False)
        self.train()

    def _map_size(self, sizes: Sizes, network: str, layer: str) -> tuple[int, int, int]:
        """(C, rows, columns) of what ``maps`` gives, by a run on the meta device, which computes nothing."""
        maps = _Maps(self)
        tensors = [*maps.named_parameters(), *maps.named_buffers()]
        on_meta = {name: tensor.to("meta") for name, tensor in tensors}
        size = f"{sizes.image[1]}x{sizes.image[2]}"
        self.trunk.eval()  # batch norm takes a single image then
        try:
            with torch.no_grad():
                output = torch.func.functional_call(
                    maps, on_meta, (torch.empty(1, *sizes.image, device="meta"),)
                )
        except Exception as error:  # each layer refuses an image in a way of its own
            raise ValueError(
                f"{network} does not take images of {size} up to {layer} ({describe_error(error)}); "
                f"use larger ones, another size or an earlier {layer.split()[0]}"
            ) from error
        shape = tuple(output.shape) if isinstance(output, Tensor) else (type(output).__name__,)
        if len(shape) != 4:
            raise ValueError(
                f"{layer} of {network} gives {shape} for an image of {size}, and no map "
                f"(1, channels, rows, columns); choose an earlier {layer.split()[0]} or another network"
            )
        return shape[1], shape[2], shape[3]

    @property
    def wants_weights(self) -> bool:
        """Not on the meta device, where there is nothing to fill, nor where a checkpoint will do it."""
        return bool(self.config.weights) and self.sizes.pretrained and not self.image_mean.is_meta

    def load(
        self,
        state: Mapping[str, Tensor],
        *,
        dropped: Iterable[str],
        advice: str,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Fill the trunk and take the mean and deviation of the images that the weights were trained on.

        dropped: names of the layers that were cut off. advice: what to check where the weights do not fit.
        """
        state = weights.check(
            state, self.trunk.state_dict(), dropped, source=self.config.weights, advice=advice
        )
        # Not strict: all that check lets be missing are counts of batches.
        self.trunk.load_state_dict(state, strict=False)
        self.image_mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
        self.image_std.copy_(torch.tensor(std).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> CutNetwork[OptionsT]:
        super().train(mode)
        if self.config.frozen:
            self.trunk.eval()
        return self

    def maps(self, images: Tensor) -> Tensor:
        """Images (I, 3, H, W), normalised -> (I, C, rows, columns)."""
        result: Tensor = self.trunk(images)
        return result

    def forward(self, images: Tensor) -> Cells:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            features_ICHW: Tensor = self.pool(self.maps(self.normalise(images)))
        return Cells(
            features=features_ICHW.flatten(2).transpose(1, 2), positions=self.positions, grid=self.grid
        )


class _Maps(nn.Module):
    """``CutNetwork.maps`` as a module, for a call with other tensors in place of its weights."""

    def __init__(self, encoder: CutNetwork[Any]) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder.maps(images)
