"""Declares the question encoder "lstm". Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Options of the LSTM."""

    embedding: int = option(32, "channels of a word vector, as many as the data's own vectors have", min=1)
    hidden: int = option(128, "channels of the state of each layer and direction", min=1)
    layers: int = option(1, "layers, one above the other", min=1, max=100)
    bidirectional: bool = option(False, "read both ways; the question vector is then twice as long")
    reverse: bool = option(False, "read each question from its last word to its first")
    start: bool = option(
        False, "read a trained vector before each question, as of a word that all questions share"
    )
    dropout: float = option(0.0, "dropout between layers; needs two layers or more", min=0, below=1)
    init: Literal["orthogonal", "torch"] = option(
        "orthogonal", "start: orthogonal, Xavier and forget bias 1; or torch's small uniform one"
    )
    unique: bool = option(
        True, "on the CPU, encode equal questions of a batch once; same vectors and gradients"
    )

    def __attrs_post_init__(self) -> None:
        if self.dropout and self.layers == 1:
            raise ValueError(
                f"dropout = {self.dropout} acts between layers and there is one; "
                "set layers = 2 or more, or dropout = 0.0"
            )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="question_encoder",
            name="lstm",
            target="hacore_lstm.encoder:LSTM",
            config=Config,
            summary="word embedding and LSTM, one or both ways; the last state is the question's vector",
        )
    ]
