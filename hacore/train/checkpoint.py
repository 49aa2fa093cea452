"""The whole state of a training as one file, and back, bit for bit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from hacore.data import Dataset
from hacore.errors import RunError
from hacore.machine.files import load_tensors, save_tensors
from hacore.machine.processes import World, gather_bytes
from hacore.model.weights import load_model, named
from hacore.plugin import CONTRACT
from hacore.spec import Spec, dump_spec


@attrs.define(kw_only=True)
class Position:
    """Where a training stands, besides weights, optimiser and random states.

    step: steps done. best: best evaluation accuracy so far, -1 before the first. stale: evaluations
    since then. seconds: training time so far, over all sessions. metrics_bytes: length of
    metrics.jsonl. identity: names the spec and the data, so that a state is not continued elsewhere.
    contract: that of the components whose state it is. precision: what it is trained in, which earlier
    versions did not say.
    """

    step: int = 0
    best: float = -1.0
    stale: int = 0
    seconds: float = 0.0
    metrics_bytes: int = 0
    identity: str = ""
    contract: int = CONTRACT
    precision: str = ""


def save_checkpoint(
    path: Path,
    position: Position,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    sums: Tensor,
    world: World,
    average: nn.Module | None = None,
) -> None:
    """Write the state; called by every process, written by the leading one.

    sums: what the metrics gathered since their last line. average: the running mean of the model.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors.update({f"average.{name}": tensor for name, tensor in average.state_dict().items()})
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": value for name, value in state.items()})
    for name, own in _random_states(sums).items():
        for rank, part in enumerate(gather_bytes(own)):
            tensors[f"process.{rank}.{name}"] = part
    if world.leads:
        save_tensors(path, tensors, attrs.asdict(position))


def load_checkpoint(
    path: Path,
    identity: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    sums: Tensor,
    world: World,
    average: nn.Module | None = None,
) -> Position:
    """Restore everything in place and return the position. Raises RunError when it cannot be."""
    tensors, state = load_tensors(path)
    contract = state.get("contract", 1)
    if contract != CONTRACT:
        raise RunError(
            f"{path}: was written under contract {contract} of hacore's components, this is contract "
            f"{CONTRACT}; a training is not continued from one to the other: run its spec.toml afresh, or go "
            "on with the version in its environment.json"
        )
    position = Position(**state)
    if position.identity != identity:
        raise RunError(f"{path}: belongs to another spec or other data; resume the run it is from")
    if f"process.{world.processes - 1}.cpu" not in tensors or f"process.{world.processes}.cpu" in tensors:
        count = sum(name.startswith("process.") and name.endswith(".cpu") for name in tensors)
        writers = f"{count} process{'es' if count > 1 else ''}"
        raise RunError(f"{path}: was written by {writers}, not {world.processes}; resume with as many")
    load_model(path, tensors, model)
    if average is not None:
        average.load_state_dict(named(tensors, "average."))
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            like = parameters[int(index)]
            if tensor.shape == like.shape:  # in the parameter's layout of memory, on which rounding depends
                tensor = torch.empty_like(like, dtype=tensor.dtype, device="cpu").copy_(tensor)
            states.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    own = f"process.{world.rank}."
    torch.set_rng_state(tensors[own + "cpu"])
    if own + "cuda" in tensors and sums.is_cuda:
        torch.cuda.set_rng_state(tensors[own + "cuda"], sums.device)
    if own + "mps" in tensors and sums.is_mps:
        torch.mps.set_rng_state(tensors[own + "mps"])
    sums.copy_(tensors[own + "sums"].view(sums.dtype).view_as(sums))
    return position


def _random_states(sums: Tensor) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if sums.is_cuda:
        states["cuda"] = torch.cuda.get_rng_state(sums.device)
        return {name: state.to(sums.device) for name, state in states.items()} | {"sums": _bytes(sums)}
    if sums.is_mps:
        states["mps"] = torch.mps.get_rng_state()
    return states | {"sums": _bytes(sums)}


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().view(torch.uint8).reshape(-1)


def identity(spec: Spec, dataset: Dataset[Any]) -> str:
    """A digest of what a checkpoint's state depends on."""
    read = dataset.store.fingerprint if dataset.store else ""
    return hashlib.sha256((dump_spec(spec) + dataset.fingerprint + read).encode()).hexdigest()
