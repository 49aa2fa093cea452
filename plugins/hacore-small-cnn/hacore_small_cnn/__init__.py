"""Declares the image encoder "small-cnn". Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2

DEFAULT_GROUPS = 8


def _not_empty(value: tuple[int, ...]) -> str | None:
    return None if value else "the list is empty; give at least one number"


@attrs.frozen(kw_only=True)
class Config:
    """Options of the small CNN."""

    channels: tuple[int, ...] = option(
        (32, 64, 64, 64), "channels of each convolution, one entry a layer", min=1, check=_not_empty
    )
    kernel: int = option(3, "side of every kernel; each layer pads by half of it", min=1)
    strides: tuple[int, ...] = option(
        (2,), "stride of each layer, or one entry that holds for all", min=1, check=_not_empty
    )
    norm: Literal["batch", "group", "off"] = option("batch", "normalisation after each convolution")
    groups: int | None = option(
        None, f"groups of the group norm, {DEFAULT_GROUPS} if not given; only with norm = 'group'", min=1
    )

    weights: str = option(
        "", "run folder, or one of runs, whose image encoder is taken; empty for random weights", place=True
    )
    frozen: bool = option(False, "keep the weights and the batch norm statistics as they are")

    def __attrs_post_init__(self) -> None:
        if self.frozen and not self.weights:
            raise ValueError("frozen = true keeps random weights, which never learn; name a run with weights")
        if len(self.strides) not in (1, len(self.channels)):
            raise ValueError(
                f"strides has {len(self.strides)} entries and channels {len(self.channels)}; "
                "give one stride for all layers or one a layer"
            )
        if self.norm != "group":
            if self.groups is not None:
                raise ValueError(
                    f"groups = {self.groups} has no use with norm = {self.norm!r}; "
                    "leave it out or set norm = 'group'"
                )
            return
        groups = self.groups or DEFAULT_GROUPS
        for channels in self.channels:
            if channels % groups:
                raise ValueError(
                    f"groups = {groups} does not divide the {channels} channels of a layer; "
                    "change groups or channels"
                )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="image_encoder",
            name="small-cnn",
            target="hacore_small_cnn.encoder:SmallCNN",
            config=Config,
            summary="a few convolutions, trained from scratch, or those of an earlier run, frozen or not",
        )
    ]
