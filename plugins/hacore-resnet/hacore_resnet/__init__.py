"""Declares the image encoder "resnet". Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


def _two(value: tuple[int, ...]) -> str | None:
    return None if len(value) == 2 else f"{list(value)} must be two numbers, rows and columns"


@attrs.frozen(kw_only=True)
class Config:
    """Options of the ResNet."""

    depth: Literal[18, 34, 50, 101, 152] = option(101, "which ResNet")
    stage: Literal[1, 2, 3, 4] = option(4, "stage whose output is used; the later ones are dropped")
    weights: str = option(
        "",
        "a torchvision name such as 'IMAGENET1K_V2' (downloaded once), or a .safetensors or .pth file "
        "of a state dict; empty for random weights",
    )
    frozen: bool = option(True, "keep the weights and the batch norm statistics as they are")
    pool: tuple[int, int] | None = option(
        None, "rows and columns to average the grid down to; not given, it stays as it is", min=1, check=_two
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="image_encoder",
            name="resnet",
            target="hacore_resnet.encoder:ResNet",
            config=Config,
            summary="torchvision's ResNet-18 to 152, up to a stage, pretrained or not, frozen or not",
        )
    ]
