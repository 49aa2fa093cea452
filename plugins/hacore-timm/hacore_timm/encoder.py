"""A network of timm, cut after a stage or block."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

import timm
import torch
from hacore_resnet import weights
from hacore_resnet.cut import CutNetwork
from timm.data import resolve_model_data_config
from timm.layers import PatchEmbed
from torch import Tensor, nn

from hacore.errors import DataError, describe_error, did_you_mean
from hacore.interfaces import Sizes
from hacore_timm import Config

PRETRAINED = "pretrained"


class Timm(CutNetwork[Config]):
    """A network of timm up to a layer: images (I, 3, H, W) -> Cells (I, N, C).

    The layers are what timm counts as ``forward_intermediates``: the stages of a convolutional network, of
    which 0 is mostly its stem, or the blocks of a transformer. Cells of a transformer are the tokens of its
    patches, without those of class and registers; after the last block the final norm is applied, as in the
    network's own forward. The network is made for the size of the images; position embeddings of another
    size are interpolated as timm does when weights are loaded.

    Weights bring with them the mean and deviation of the network's configuration.

    Raises ValueError for a model or layer that does not exist, sides that are no multiples of a transformer's
    patch, and otherwise as ``CutNetwork``; DataError for weights that cannot be fetched or do not match.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        whole = _whole(config.model, sizes)
        names = [*whole.state_dict()]
        count = len(whole.feature_info)
        if not -count <= config.layer < count:
            raise ValueError(
                f"layer = {config.layer}: {config.model} has the layers 0 to {count - 1}; choose one, "
                f"or count from the last, -1 to -{count}"
            )
        self._layer = config.layer % count
        self._norm = self._layer == count - 1 and isinstance(getattr(whole, "norm", None), nn.Module)
        whole.prune_intermediate_layers([self._layer], prune_norm=not self._norm, prune_head=True)
        super().__init__(config, sizes, whole, network=config.model, layer=f"layer {config.layer}")
        if self.wants_weights:
            data = resolve_model_data_config(whole)
            self.load(
                _state(config, sizes, whole),
                dropped=names,
                advice=f"check model, and that the file is of timm's {config.model}",
                mean=data["mean"],
                std=data["std"],
            )

    def maps(self, images: Tensor) -> Tensor:
        network: Any = self.trunk
        maps: list[Tensor] = network.forward_intermediates(
            images,
            indices=[self._layer],
            norm=self._norm,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return maps[0]


def _whole(model: str, sizes: Sizes, pretrained: bool = False) -> Any:
    """The network of timm, a module, made for images of the size."""
    name = model.partition(".")[0]
    if not timm.is_model(name):
        near = did_you_mean(name, timm.list_models())
        raise ValueError(
            f"model = '{model}' is no network of timm {timm.__version__}{near}; timm.list_models() has all"
        )
    _, height, width = sizes.image
    try:
        with torch.device("meta"):
            plain = timm.create_model(model)
    except RuntimeError as error:
        raise ValueError(
            f"model = '{model}' has no such weights ({describe_error(error)}); "
            f"those of {name} are {', '.join(timm.list_pretrained(name)) or 'none'}"
        ) from error
    if not hasattr(plain, "prune_intermediate_layers"):
        raise ValueError(f"model = '{model}': timm tells no layers of a {type(plain).__name__}; use another")
    _check_patches(model, plain, height, width)
    sized = "img_size" in inspect.signature(type(plain).__init__).parameters
    return timm.create_model(model, pretrained=pretrained, img_size=(height, width) if sized else None)


def _check_patches(model: str, plain: nn.Module, height: int, width: int) -> None:
    embed = getattr(plain, "patch_embed", None)
    if not isinstance(embed, PatchEmbed) or embed.dynamic_img_pad:
        return
    rows, columns = embed.patch_size
    if height % rows or width % columns:
        near = [f"{side // patch * patch or patch}" for side, patch in ((height, rows), (width, columns))]
        raise ValueError(
            f"images of {height}x{width}: {model} has patches of {rows}x{columns} pixels, and the sides must "
            f"be multiples of them, such as {'x'.join(near)}; set data.size"
        )


def _state(config: Config, sizes: Sizes, trunk: nn.Module) -> Mapping[str, Tensor]:
    if config.weights == PRETRAINED:
        try:
            fetched: Mapping[str, Tensor] = _whole(config.model, sizes, pretrained=True).state_dict()
            return fetched
        except Exception as error:  # network, disk and format all fail in ways of their own
            raise DataError(
                f"weights 'pretrained' of {config.model} cannot be fetched ({describe_error(error)}); fetch "
                "them by other means and give the path of the file"
            ) from error
    if not weights.is_file_name(config.weights):
        raise ValueError(
            f"weights = '{config.weights}' is not known; allowed are '{PRETRAINED}' and a file whose name "
            f"ends in {' or '.join(weights.SUFFIXES)}"
        )
    state = weights.read(config.weights)
    # How timm itself brings names and position embeddings of published files to those of the network.
    convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    try:
        converted: Mapping[str, Tensor] = convert(dict(state), trunk) if convert else state
    except Exception:  # it asks for names that other files lack; the check tells which
        return state
    return converted
