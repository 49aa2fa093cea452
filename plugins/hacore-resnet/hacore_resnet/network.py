"""Any classification network of torchvision, cut at a layer."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from hacore.errors import did_you_mean
from hacore.interfaces import Sizes
from hacore_resnet import NetworkConfig, weights
from hacore_resnet.cut import CutNetwork

# Names in the published files of DenseNets, which torchvision itself renames when it reads them.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class Network(CutNetwork[NetworkConfig]):
    """A network of torchvision up to the module ``layer``: images (I, 3, H, W) -> Cells (I, N, C).

    Layers after it are dropped. Weights bring with them the mean and deviation that torchvision gives for
    them, a file those of the model's default ones.

    Raises ValueError for a model or a layer that does not exist, and otherwise as ``CutNetwork`` and
    ``hacore_resnet.encoder.ResNet`` do.
    """

    def __init__(self, config: NetworkConfig, sizes: Sizes) -> None:
        whole = _whole(config.model)
        if hasattr(whole, "transform_input"):  # the weights of GoogLeNet and Inception expect other pixels
            whole.transform_input = bool(config.weights)
        dropped = [*whole.state_dict()]
        trunk = _cut(whole, config)
        # Swin transformers have channels last until a module of theirs permutes them.
        channels_last = isinstance(whole, torchvision.models.SwinTransformer) and config.layer != "permute"
        self._order = (0, 3, 1, 2) if channels_last else (0, 1, 2, 3)
        super().__init__(config, sizes, trunk, network=config.model, layer=f"layer {config.layer}")
        if self.wants_weights:
            known = torchvision.models.get_model_weights(config.model)
            if weights.is_file_name(config.weights):
                state, preset = weights.read(config.weights), known.DEFAULT.transforms()
            else:
                state = weights.download(config.model, config.weights, config.model)
                preset = known[config.weights].transforms()
            self.load(
                _renamed(state),
                dropped=dropped,
                advice=f"check model, and that the file is of torchvision's {config.model}",
                mean=preset.mean,
                std=preset.std,
            )

    def maps(self, images: Tensor) -> Tensor:
        result: Tensor = self.trunk(images)["map"]
        return result.permute(self._order) if result.dim() == 4 else result

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        copied.train(self.training)  # torchvision's copy of the trunk is in training mode
        return copied


def _whole(name: str) -> Any:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(
            f"model = '{name}' is no classification network of torchvision{did_you_mean(name, known)}; "
            f"allowed are {', '.join(known)}"
        )
    # GoogLeNet and Inception warn of a slow draw of weights otherwise.
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **options)


def _cut(whole: nn.Module, config: NetworkConfig) -> nn.Module:
    _, nodes = get_graph_node_names(whole, suppress_diff_warning=True)
    parts = [node.split(".") for node in nodes]
    known = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)} - {"x"}
    if config.layer not in known:
        near = did_you_mean(config.layer, sorted(known))
        raise ValueError(
            f"layer = '{config.layer}' is no layer of {config.model}{near}; "
            f"it has {_names(whole)}, and the layers in some of them"
        )
    trunk: nn.Module = create_feature_extractor(whole, {config.layer: "map"}, suppress_diff_warning=True)
    return trunk


def _names(whole: nn.Module) -> str:
    """``features.0 to features.18, classifier``: the layers of a network, briefly."""
    names = []
    for name, module in whole.named_children():
        parts = [*module._modules]
        numbered = isinstance(module, nn.Sequential) and len(parts) > 1 and parts[0] == "0"
        names.append(f"{name}.0 to {name}.{parts[-1]}" if numbered else name)
    return ", ".join(names)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}
