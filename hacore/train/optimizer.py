"""The optimiser of a training, and the running mean of its weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hacore.spec import TrainConfig


def running_mean(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential running mean of the weights and of the batch norms' statistics, step by step.

    It starts as the weights after the first step. Averages of 1 / (1 - decay) steps are usual; see
    Polyak and Juditsky 1992, *Acceleration of stochastic approximation by averaging*.
    """
    mean = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=mean, use_buffers=True)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW; only tensors of two or more dimensions decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    cls = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return cls(groups, lr=config.lr, betas=(config.betas[0], config.betas[1]), fused=True)
