"""Declares the observer "tensorboard". Imports no tensorboard and no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """What is logged besides scalars, the spec and the result."""

    pictures: int = option(6, "questions drawn with their kept cells at every evaluation", min=0, max=16)
    histograms: bool = option(True, "distributions of presence and of the number of kept cells")


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="observer",
            name="tensorboard",
            target="hacore_tensorboard.logger:TensorBoardLogger",
            config=Config,
            summary="event files in RUN/tensorboard, for 'tensorboard --logdir runs'",
        )
    ]
