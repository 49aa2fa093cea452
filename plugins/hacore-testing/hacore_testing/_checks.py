"""What the contract tests share: failures of one line, comparisons, and conversion of inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import attrs
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def fail(message: str) -> NoReturn:
    """Fail the test with one line and no traceback."""
    pytest.fail(message, pytrace=False)


def require(condition: Any, message: str) -> None:
    """Fail with ``message`` unless the condition holds."""
    if not condition:
        fail(message)


def tensors(value: Any) -> dict[str, Tensor]:
    """The tensors of an input or result by name; a bare tensor is called ``output``."""
    if isinstance(value, Tensor):
        return {"output": value}
    if isinstance(value, Mapping):
        parts = dict(value)
    elif attrs.has(type(value)):
        parts = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    else:
        return {}
    by_name: dict[str, Tensor] = {}
    for name, part in parts.items():
        inner = tensors(part)
        by_name.update({name: inner["output"]} if isinstance(part, Tensor) else inner)
    return by_name


def require_tensor(value: Any, what: str, shape: tuple[int, ...], letters: str) -> None:
    """``value`` must be a finite tensor of that shape; letters: the shape in words, ``(Q, K, C)``."""
    require(isinstance(value, Tensor), f"{what} must be a tensor {letters}, found {type(value).__name__}")
    require(
        tuple(value.shape) == shape, f"{what} has shape {tuple(value.shape)}; must be {letters} = {shape}"
    )
    require_finite(value, what)


def require_finite(value: Tensor, what: str) -> None:
    """No NaN and no infinity."""
    if value.is_floating_point():
        bad = int((~torch.isfinite(value)).sum())
        require(not bad, f"{what} has {bad} of {value.numel()} entries that are not finite")


def require_close(actual: Tensor, expected: Tensor, tolerance: float, message: str) -> None:
    """Equal shapes, and nowhere further apart than ``tolerance`` times the largest expected entry."""
    require(
        actual.shape == expected.shape,
        f"{message}: the shapes are {tuple(actual.shape)} and {tuple(expected.shape)}",
    )
    if not expected.numel():
        return
    actual, expected = actual.detach().to(torch.float64), expected.detach().to(torch.float64)
    scale = float(expected.abs().max()) or 1.0
    apart = float((actual - expected).abs().max()) / scale
    # The negated comparison also catches NaN.
    if not apart <= tolerance:
        fail(f"{message}: the difference is {apart:.2g} of the largest value, allowed is {tolerance:.2g}")


def require_same(actual: Any, expected: Any, tolerance: float, message: str) -> None:
    """``require_close`` for every tensor of two results."""
    left, right = tensors(actual), tensors(expected)
    require(left.keys() == right.keys(), f"{message}: {sorted(left)} against {sorted(right)}")
    for name in left:
        require_close(left[name], right[name], tolerance, f"{message} ({name})")


def cast(value: Any, dtype: torch.dtype = torch.float32, device: str = "cpu", name: str = "") -> Any:
    """An input on a device, floating-point tensors in ``dtype``.

    As in a model: lengths stay on the CPU, and positions keep float32 when features have less.
    """
    if isinstance(value, Tensor):
        if name == "lengths_Q":
            device = "cpu"
        if not value.is_floating_point():
            return value.to(device)
        if name.startswith("positions"):
            dtype = torch.promote_types(dtype, torch.float32)
        return value.to(device, dtype)
    if isinstance(value, dict):
        return {key: cast(part, dtype, device, key) for key, part in value.items()}
    if attrs.has(type(value)):
        parts = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
        return attrs.evolve(
            value,
            **{key: cast(part, dtype, device, key) for key, part in parts.items()},
        )
    return value


def copy(value: Any) -> Any:
    """The same input in memory of its own."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copy(part) for key, part in value.items()}
    if attrs.has(type(value)):
        parts = {field.name: copy(getattr(value, field.name)) for field in attrs.fields(type(value))}
        return attrs.evolve(value, **parts)
    return value


def stray_tensors(module: nn.Module) -> list[str]:
    """Attributes that hold a tensor which is neither parameter nor buffer of the module."""
    known = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    stray: list[str] = []
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            inside = () if name in ("_parameters", "_buffers", "_modules") else _tensors_in(value)
            if any(id(tensor) not in known for tensor in inside):
                stray.append(f"{prefix}.{name}".lstrip("."))
    return stray


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors_in(part)
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from _tensors_in(part)


class OnesForScalars(TorchDispatchMode):
    """Lets code on the meta device, which holds no values, read single numbers: each is one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return torch.ones((), dtype=args[0].dtype).item()
        return func(*args, **(kwargs or {}))
