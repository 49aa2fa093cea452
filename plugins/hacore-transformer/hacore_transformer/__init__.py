"""Declares the aggregator "transformer". Imports no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Size and form of the encoder."""

    layers: int = option(2, "layers of attention and feed-forward", min=1, max=100)
    width: int = option(64, "channels of the tokens, and of the output; a multiple of heads", min=1)
    heads: int = option(4, "groups of width / heads channels that attend independently", min=1)
    feed_forward: int = option(128, "units of each layer's feed-forward part", min=1)
    dropout: float = option(0.0, "dropout of what each part of a layer adds", min=0, below=1)
    coordinates: bool = option(True, "append each cell's x and y to its vector")
    coordinate_scale: float = option(
        1.0, "factor on x and y, which lie in [-1, 1], so that long vectors do not drown them", above=0
    )
    words: bool = option(True, "a token for the state at each word, beside that of the question")

    def __attrs_post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(
                f"width = {self.width} does not divide into heads = {self.heads}; "
                "set width to a multiple of heads"
            )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="aggregator",
            name="transformer",
            target="hacore_transformer.transformer:Transformer",
            config=Config,
            summary="a transformer encoder over the kept cells, the question and its words",
        )
    ]
