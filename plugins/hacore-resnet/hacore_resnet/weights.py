"""ResNet weights from torchvision or from a file, checked before they are used, never unpickled."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from hacore.errors import DataError

SUFFIXES = (".pth", ".safetensors")
_NAMED = 3  # keys spelled out in an error


def is_file_name(weights: str) -> bool:
    """Whether ``weights`` means a file: it has a path separator or ends in .pth or .safetensors."""
    return weights.endswith(SUFFIXES) or any(mark in weights for mark in ("/", os.sep, os.altsep) if mark)


def download(depth: int, name: str) -> dict[str, Tensor]:
    """The torchvision weights called ``name``, from torch.hub's cache if they are there.

    ValueError for a name torchvision does not have, DataError if the download fails.
    """
    known = torchvision.models.get_model_weights(f"resnet{depth}").__members__
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"weights {name!r} are not known for ResNet-{depth}{hint}; allowed are {', '.join(known)}, "
            f"or a file whose name ends in {' or '.join(SUFFIXES)}"
        )
    url = known[name].url
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:  # network, disk, hash and format all fail in ways of their own
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
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format fails in ways of its own
        raise DataError(
            f"weights {path}: the file is damaged or holds more than tensors ({_one_line(error)})"
        ) from error
    if not (
        isinstance(state, Mapping)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise DataError(f"weights {path}: the file must hold a state dict, names to tensors, only")
    return dict(state)


def check(
    state: Mapping[str, Tensor], kept: Mapping[str, Tensor], dropped: Iterable[str], source: str
) -> dict[str, Tensor]:
    """The tensors of ``state`` that ``kept`` needs, or DataError naming ``source`` and what is wrong.

    kept: the state dict to fill; dropped: names that ``state`` may have but that go unused. Anything
    else is unexpected, since a deeper ResNet's file holds all the names of a shallower one.
    """
    allowed = {*kept, *dropped}
    # Files of old torch versions do not count batches; the count is not used with a fixed momentum.
    missing = [key for key in kept if key not in state and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in allowed]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in kept.items()
        if key in state and state[key].shape != tensor.shape
    ]
    wrong = [
        f"{len(items)} {word}: {', '.join(items[:_NAMED])}{', ...' if len(items) > _NAMED else ''}"
        for word, items in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if items
    ]
    if wrong:
        raise DataError(f"weights {source} do not match; {'; '.join(wrong)}; check depth")
    return {key: state[key] for key in kept if key in state}


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
