"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from hacore.spec import TrainConfig


def lr_factor(step: int, total_steps: int, config: TrainConfig) -> float:
    """Share of ``config.lr`` to use at ``step`` (from 0) of ``total_steps``.

    Rises linearly over ``warmup_steps``, stays until the share ``hold`` of the training is over,
    then falls to ``final_lr`` at the last step, linearly or as half a cosine.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return warm
    start = config.hold * total_steps
    span = total_steps - 1 - start
    gone = min(1.0, max(0.0, (step - start) / span)) if span > 0 else float(step >= total_steps - 1)
    left = 1 - gone if config.schedule == "linear" else (1 + math.cos(math.pi * gone)) / 2
    return warm * (config.final_lr + (1 - config.final_lr) * left)
