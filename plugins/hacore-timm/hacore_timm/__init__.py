"""Declares the image encoder "timm". Imports no torch."""

from __future__ import annotations

import attrs
from hacore_resnet import frozen_option, pool_option

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Options of a network of timm."""

    model: str = option(
        "vit_small_patch16_224", "timm's name of a network, with or without the tag of its weights"
    )
    layer: int = option(
        -1,
        "block of a transformer or stage of a convolutional network whose output is used, counted from 0; "
        "-1 is the last",
    )
    weights: str = option(
        "",
        "'pretrained' for those of timm (downloaded once), or a .safetensors or .pth file of a state dict; "
        "empty for random weights",
    )
    frozen: bool = frozen_option()
    pool: tuple[int, int] | None = pool_option()


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="image_encoder",
            name="timm",
            target="hacore_timm.encoder:Timm",
            config=Config,
            summary="any network of timm up to a stage or block, ViTs too, pretrained or not, frozen or not",
        )
    ]
