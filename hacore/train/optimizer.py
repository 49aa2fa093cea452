"""The optimiser of a training, and the running mean of its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hacore.spec import TrainConfig


def running_mean(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential running mean of the weights and of the batch norms' statistics, step by step.

    It starts as the weights after the first step. Averages of 1 / (1 - decay) steps are usual; see
    Polyak and Juditsky 1992, *Acceleration of stochastic approximation by averaging*.
    """
    mean = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=mean, use_buffers=True)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for some matrices, AdamW for all else, as one optimiser with one state.

    Muon takes steps of the size that AdamW takes, so both have the same ``lr`` and ``weight_decay``. Sources:
    K. Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*; J. Liu et al. 2025,
    *Muon is scalable for LLM training*.
    """

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.Optimizer) -> None:
        self._parts = (muon, adamw)
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Any = None) -> Any:
        """One step of both; what ``closure`` gives, which Muon calls first."""
        muon, adamw = self._parts
        loss = muon.step(closure)
        adamw.step()
        return loss

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """The parts work on this optimiser's groups and state; Muon has the first group."""
        muon, adamw = self._parts
        muon.param_groups, adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        muon.state = adamw.state = self.state


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """That of the spec; only tensors of two or more dimensions decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    hidden = _hidden_weights(model) if config.optimizer == "muon" else []
    chosen = {id(p) for p in hidden}
    others = [p for p in trained if id(p) not in chosen]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    cls = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    adam = cls(groups, lr=config.lr, betas=(config.betas[0], config.betas[1]), fused=True)
    if not hidden:
        return adam
    muon = torch.optim.Muon(
        hidden, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return MuonAdamW(muon, adam)


def _hidden_weights(model: nn.Module) -> list[Tensor]:
    """Weights of linear layers without the last layer, which makes the logits."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return [layer.weight for layer in layers[:-1] if layer.weight.requires_grad]
