"""Declares the selectors "scored-topk", "gumbel-topk" and "perturbed-topk". Imports no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, TopK, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class ScoredConfig(TopK):
    """How many cells go on."""


@attrs.frozen(kw_only=True)
class GumbelConfig(TopK):
    """How many cells go on, and how much chance has a say in training."""

    temperature: float = option(
        0.5,
        "scale of the noise and temperature of the relaxation when training starts, in standard "
        "deviations of a question's scores",
        above=0,
    )
    final_temperature: float = option(
        0.1, "what the temperature falls to, by the same factor each step; at most temperature", above=0
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.final_temperature > self.temperature:
            raise ValueError(
                f"final_temperature = {self.final_temperature} is above temperature = {self.temperature}; "
                "the temperature can only fall: lower final_temperature"
            )


@attrs.frozen(kw_only=True)
class PerturbedConfig(TopK):
    """How many cells go on, and how they are perturbed in training."""

    sigma: float = option(
        0.5,
        "standard deviation of the noise when training starts, in standard deviations of a question's "
        "scores; falls linearly to a hundredth of that",
        above=0,
    )
    samples: int = option(32, "draws of noise per question and training step; the cost follows it", min=2)


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="scored-topk",
            target="hacore_learned_topk.scored:ScoredTopK",
            config=ScoredConfig,
            summary="keeps the k cells of highest learned score, each times its sigmoid (gated pooling)",
        ),
        Component(
            kind="selector",
            name="gumbel-topk",
            target="hacore_learned_topk.gumbel:GumbelTopK",
            config=GumbelConfig,
            summary="keeps the k cells of highest learned score; trained by Gumbel noise, straight-through",
        ),
        Component(
            kind="selector",
            name="perturbed-topk",
            target="hacore_learned_topk.perturbed:PerturbedTopK",
            config=PerturbedConfig,
            summary="keeps the k cells of highest learned score; trained by the mean of perturbed choices",
        ),
    ]
