"""The weights of a model among the tensors of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hacore.errors import RunError
from hacore.machine.weight_files import require_finite


def load_model(path: Path, tensors: dict[str, Tensor], model: nn.Module) -> None:
    """Copy the model's weights out of a checkpoint's tensors.

    Raises RunError where they do not fit, or are not finite although the model's own are.
    """
    weights = model_weights(tensors)
    expected = model.state_dict()
    wrong = sorted(weights.keys() ^ expected.keys()) or sorted(
        name for name in expected if expected[name].shape != weights[name].shape
    )
    if wrong:
        raise RunError(
            f"{path}: does not fit the model of the spec: {wrong[0]} and {len(wrong) - 1} others differ; "
            "use the spec.toml beside it and the plugin versions in environment.json"
        )
    finite = {name: weights[name] for name, own in expected.items() if torch.isfinite(own).all()}
    require_finite(finite, str(path), "use the other checkpoint of the folder, or run the spec again")
    model.load_state_dict(weights)


def model_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's weights among a checkpoint's tensors, by their names in the model."""
    return named(tensors, "model.")


def named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
