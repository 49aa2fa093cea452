"""``train.init``: a training that starts from the weights of another run."""

from __future__ import annotations

import torch
from torch import Tensor

from hacore.errors import RunError
from hacore.machine.files import load_tensors
from hacore.machine.weight_files import require_finite
from hacore.model.network import VQAModel
from hacore.model.weights import model_weights
from hacore.runs import RunFolder
from hacore.runs.choosing import finished_run
from hacore.runs.data_summary import DataSummary
from hacore.spec import TrainConfig

_NAMED = 8  # tensors that a message spells out


def start_from(model: VQAModel, config: TrainConfig, summary: DataSummary) -> str:
    """Copy the best weights of the run that ``train.init`` names into the model; says what fitted, what not.

    summary: of the data that the model is built for. A question encoder whose words, or a head whose answers
    are not those of the run does not fit, even if the shapes do. With ``train.init_parts`` only these
    components are taken; without, what is frozen keeps its weights, of which stored features are made.
    Raises RunError where one of them does not fit or is not finite, or nothing fits.
    """
    folder = finished_run(str(config.init))
    path = folder.checkpoint()
    tensors, _ = load_tensors(path)
    theirs, own = model_weights(tensors), model.state_dict()
    learns = [(name.split(".")[0], each.requires_grad) for name, each in model.named_parameters()]
    frozen = {part for part, _ in learns} - {part for part, learning in learns if learning}
    parts: set[str] = {*config.init_parts} or {name.split(".")[0] for name in own} - frozen
    wanted = {name for name in {**own, **theirs} if name.split(".")[0] in parts}
    other = _other_names(folder, summary)
    reasons = {name: _misfit(name, own.get(name), theirs.get(name), other) for name in sorted(wanted)}
    misfits = [f"{name} ({reason})" for name, reason in reasons.items() if reason]
    fitting = {name: theirs[name] for name, reason in reasons.items() if not reason}
    if misfits and (config.init_parts or not fitting):
        raise RunError(
            f"train.init = {str(folder.path)!r}: does not fit: {_listed(misfits)}; "
            "choose what fits with train.init_parts, or leave it out"
        )
    finite = {name: tensor for name, tensor in fitting.items() if torch.isfinite(own[name]).all()}
    require_finite(finite, str(path), "start from another run, or leave train.init out")
    model.load_state_dict({**own, **fitting})
    message = f"started from {folder.path}: {len(fitting)} of {len(own)} tensors"
    message += "".join(f"; the {part} is frozen and keeps its own" for part in sorted(frozen - parts))
    return f"{message}; did not fit: {_listed(misfits)}" if misfits else message


def _other_names(folder: RunFolder, summary: DataSummary) -> dict[str, str]:
    """{component: what it was trained for} of components that were trained for other words or answers."""
    if not folder.inputs_file.is_file():
        return {}
    theirs = DataSummary.read(folder.inputs_file)
    other = {}
    if theirs.vocabulary != summary.vocabulary:
        other["question_encoder"] = f"other words, {len(theirs.vocabulary)} there"
    if theirs.answers != summary.answers:
        other["head"] = f"other answers, {len(theirs.answers)} there"
    return other


def _misfit(name: str, own: Tensor | None, theirs: Tensor | None, other: dict[str, str]) -> str:
    """Why a tensor cannot be taken; "" where it can."""
    if own is None:
        return "only there"
    if theirs is None:
        return "only here"
    if own.shape != theirs.shape:
        return f"{_shape(theirs)} there, {_shape(own)} here"
    return other.get(name.split(".")[0], "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(misfits: list[str]) -> str:
    more = len(misfits) - _NAMED
    return ", ".join(misfits[:_NAMED]) + (f" and {more} more" if more > 0 else "")
