"""Declares the aggregator "mac". Imports no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Size and form of the MAC cell."""

    steps: int = option(6, "steps of reasoning; 12 in the paper", min=1, max=100)
    width: int = option(64, "channels of control and memory; 512 in the paper", min=1)
    coordinates: bool = option(True, "append each cell's x and y to its vector")
    coordinate_scale: float = option(
        1.0, "factor on x and y, which lie in [-1, 1], so that long vectors do not drown them", above=0
    )
    elu: bool = option(
        False, "ELU after both products of the read unit, as in the authors' code; not in the paper"
    )
    tally: bool = option(
        False,
        "each step also adds up the cells that its scores let through, each to itself, so that it can count; "
        "not in the paper",
    )
    self_attention: bool = option(False, "each step also looks back at the memories of those before it")
    gate: bool = option(False, "a step may leave the memory as it is, as far as its control says")
    memory_dropout: float = option(
        0.0, "dropout of the memory that is read with, the same channels in all steps", min=0, below=1
    )
    read_dropout: float = option(
        0.0, "dropout of the vectors that are read, the same channels of a cell in all steps", min=0, below=1
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="aggregator",
            name="mac",
            target="hacore_mac.mac:MAC",
            config=Config,
            summary="steps that attend to a question's words, then to the kept cells, and remember (MAC)",
        )
    ]
