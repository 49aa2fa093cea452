"""Weights from torchvision or from a file, checked before they are used, never unpickled."""

from __future__ import annotations

import difflib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from hacore.errors import DataError
from hacore.machine.weight_files import require_finite, what_is_wrong

SUFFIXES = (".pth", ".safetensors")
_NAMED = 3  # keys spelled out in an error


def kind_of_weights(path: Path) -> str:
    """``safetensors``, ``torch`` or ``pickle`` (torch's old format), by content; "" for anything else."""
    with open(path, "rb") as file:
        head = file.read(16)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "safetensors"
    if head.startswith(b"PK\3\4"):
        return "torch"
    return "pickle" if head[:1] == b"\x80" else ""


def is_file_name(weights: str) -> bool:
    """Whether ``weights`` means a file: it has a path separator or ends in .pth or .safetensors."""
    return weights.endswith(SUFFIXES) or any(mark in weights for mark in ("/", os.sep, os.altsep) if mark)


def download(model: str, name: str, called: str) -> dict[str, Tensor]:
    """The weights ``name`` of torchvision's ``model``, from torch.hub's cache if they are there.

    called: the model in errors.
    ValueError for a name torchvision does not have, DataError if the download fails.
    """
    known = torchvision.models.get_model_weights(model).__members__
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"weights {name!r} are not known for {called}{hint}; allowed are {', '.join(known)}, "
            f"or a file whose name ends in {' or '.join(SUFFIXES)}"
        )
    url = known[name].url
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:  # network, disk, hash and format all fail in ways of their own
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
        if cached.is_file():
            raise DataError(
                f"weights {name!r}: {cached} {_problem(cached, error)}; delete it, and it is fetched again"
            ) from error
        raise DataError(
            f"weights {name!r}: {url} cannot be used ({_one_line(error)}); "
            "fetch it by other means and give the path of the file"
        ) from error


def read(name: str) -> dict[str, Tensor]:
    """The state dict in a local file. Raises DataError if the file is missing, damaged or another thing."""
    path = Path(name).expanduser()
    if path.suffix not in SUFFIXES:
        raise DataError(f"weights {path}: the name must end in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"weights {path}: there is no such file")
    try:
        state = _load(path)
    except Exception as error:  # each format fails in ways of its own
        raise DataError(f"weights {path}: the file {_problem(path, error)}") from error
    if not (
        isinstance(state, Mapping)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        keys = [str(key) for key in state] if isinstance(state, Mapping) else []
        holds = f"has {', '.join(keys[:_NAMED])}" if keys else f"is a {type(state).__name__}"
        hint = "; save its 'state_dict' alone" if "state_dict" in keys else ""
        raise DataError(
            f"weights {path}: the file must hold a state dict, names to tensors, only; it {holds}{hint}"
        )
    return dict(state)


def _load(path: Path) -> Any:
    """By the content of the file, whatever its name says."""
    if kind_of_weights(path) == "safetensors":
        return load_file(path)
    # Opened, as torch goes by the name otherwise.
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, on how a file that is refused was pickled
        return torch.load(file, map_location="cpu", weights_only=True)


def check(
    state: Mapping[str, Tensor], kept: Mapping[str, Tensor], dropped: Iterable[str], source: str, advice: str
) -> dict[str, Tensor]:
    """The tensors of ``state`` that ``kept`` needs, or DataError naming ``source`` and what is wrong.

    kept: the state dict to fill; dropped: names that ``state`` may have but that go unused. Anything
    else is unexpected, since a deeper ResNet's file holds all the names of a shallower one. advice: what to
    check then.
    """
    allowed = {*kept, *dropped}
    # Files of old torch versions do not count batches; the count is not used with a fixed momentum.
    missing = [
        _named(key, tensor)
        for key, tensor in kept.items()
        if key not in state and not key.endswith(".num_batches_tracked")
    ]
    unexpected = [_named(key, tensor) for key, tensor in state.items() if key not in allowed]
    shapes = [
        f"{_named(key, state[key])} instead of {tuple(tensor.shape)}"
        for key, tensor in kept.items()
        if key in state and state[key].shape != tensor.shape
    ]
    wrong = [
        f"{len(items)} {word}: {', '.join(items[:_NAMED])}{', ...' if len(items) > _NAMED else ''}"
        for word, items in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if items
    ]
    if wrong:
        raise DataError(f"weights {source} do not fit the encoder; {'; '.join(wrong)}; {advice}")
    weights = {key: state[key] for key in kept if key in state}
    require_finite(weights, f"weights {source}", "get the file again", DataError)
    return weights


def _named(key: str, tensor: Tensor) -> str:
    return f"{key} {tuple(tensor.shape)}"


def _problem(path: Path, error: Exception) -> str:
    """Why a file cannot be loaded, without torch's advice to unpickle what may run any code."""
    if what := what_is_wrong(path):
        return what
    kind, text = kind_of_weights(path), str(error)
    name = re.search(r"GLOBAL ([\w.]+)", text)
    if name or (isinstance(error, UnpicklingError) and kind == "pickle"):
        other = f" ({name[1]})" if name else ""
        return (
            f"holds other Python objects than tensors{other}, which could run any code and are not loaded; "
            "save model.state_dict() in the program that wrote it"
        )
    if kind:
        return "is damaged or cut off; get it again"
    return "is no file of weights, neither safetensors nor of torch.save; get it again"


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
