"""Declares the image encoders "resnet" and "torchvision". Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


WEIGHTS = (
    "a torchvision name such as 'IMAGENET1K_V2' (downloaded once), or a .safetensors or .pth file "
    "of a state dict; empty for random weights"
)


def _two(value: tuple[int, ...]) -> str | None:
    return None if len(value) == 2 else f"{list(value)} must be two numbers, rows and columns"


def frozen_option() -> Any:
    """The option ``frozen`` of ``hacore_resnet.cut.CutNetwork``."""
    return option(True, "keep the weights and the batch norm statistics as they are")


def pool_option() -> Any:
    """The option ``pool`` of ``hacore_resnet.cut.CutNetwork``."""
    return option(
        None, "rows and columns to average the grid down to; not given, it stays as it is", min=1, check=_two
    )


@attrs.frozen(kw_only=True)
class Config:
    """Options of the ResNet."""

    depth: Literal[18, 34, 50, 101, 152] = option(101, "which ResNet")
    stage: Literal[1, 2, 3, 4] = option(4, "stage whose output is used; the later ones are dropped")
    weights: str = option("", WEIGHTS)
    frozen: bool = frozen_option()
    pool: tuple[int, int] | None = pool_option()


@attrs.frozen(kw_only=True)
class NetworkConfig:
    """Options of a network of torchvision."""

    model: str = option("mobilenet_v2", "torchvision's name of a classification network")
    layer: str = option(
        "features.18", "module whose output is used, by its name in the network; the later ones are dropped"
    )
    weights: str = option("", WEIGHTS)
    frozen: bool = frozen_option()
    pool: tuple[int, int] | None = pool_option()


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="image_encoder",
            name="resnet",
            target="hacore_resnet.encoder:ResNet",
            config=Config,
            summary="torchvision's ResNet-18 to 152, up to a stage, pretrained or not, frozen or not",
        ),
        Component(
            kind="image_encoder",
            name="torchvision",
            target="hacore_resnet.network:Network",
            config=NetworkConfig,
            summary="any classification network of torchvision, up to a layer, pretrained or not",
        ),
    ]
