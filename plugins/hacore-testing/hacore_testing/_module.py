"""The tests of every kind that is a torch module: dtypes, devices, gradients, state."""

from __future__ import annotations

import typing
from typing import Any, ClassVar

import attrs
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from hacore.errors import HacoreError
from hacore.interfaces import Sizes, build
from hacore.plugin import live_options
from hacore.spec import structure_config, unstructure_config
from hacore_testing._base import Contract
from hacore_testing._checks import (
    OnesForScalars,
    cast,
    copy,
    fail,
    require,
    require_close,
    require_finite,
    require_same,
    stray_tensors,
    tensors,
)

F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16

Inputs = dict[str, Any]

_ON_THE_CPU = ("lengths_Q",)
"""Tensors that stay there in a model, where packing wants them."""

_OTHERS: dict[Any, list[Any]] = {int: [1, 2], float: [0.25, 0.75], bool: [False, True], str: []}
"""Values to try for a live option of a type; those of a ``Literal`` are its own."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64, the same for the same seed."""
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class ModuleContract(Contract):
    """What every component that is a ``torch.nn.Module`` promises."""

    half_tolerance: ClassVar[float] = 0.2
    """How far bfloat16 may be from float32, as a share of the largest value; None: not compared."""

    compares_half: ClassVar[bool] = True
    moving_inputs: ClassVar[tuple[str, ...]] = ()
    """Names of the inputs that must receive a gradient."""

    @classmethod
    def own_sizes(cls) -> Sizes:
        """``sizes`` as the component sees them."""
        return cls.sizes

    @classmethod
    def inputs(cls, seed: int = 0) -> Inputs:
        """Arguments of forward by name, float64 on the CPU."""
        raise NotImplementedError

    @classmethod
    def check_result(cls, module: Any, inputs: Inputs, result: Any) -> None:
        """Shapes, ranges and dtypes of a result."""
        raise NotImplementedError

    @classmethod
    def make(cls, dtype: torch.dtype = F64, *, train: bool = False, seed: int = 0) -> Any:
        """A new component, in evaluation mode unless told otherwise."""
        torch.manual_seed(seed)
        return build(cls.component_class(), cls.config(), cls.own_sizes()).to(dtype).train(train)

    @staticmethod
    def run(module: Any, inputs: Inputs) -> Any:
        """The result of forward."""
        return module(*inputs.values())

    @pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
    @pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
    def test_result(self, dtype: torch.dtype, train: bool) -> None:
        """Shapes, ranges and dtype of the result are right, in evaluation and in training."""
        module, inputs = self.make(dtype, train=train), cast(self.inputs(), dtype)
        result = self.run(module, inputs)
        self.check_result(module, inputs, result)
        for name, tensor in tensors(result).items():
            if tensor.is_floating_point() and not name.startswith(
                ("presence", "weight", "loss", "positions")
            ):
                require(
                    tensor.dtype == dtype, f"{name} is {tensor.dtype} for parameters and inputs of {dtype}"
                )

    @pytest.mark.parametrize("dtype", [F32, BF16], ids=["float32", "bfloat16"])
    def test_autocast(self, dtype: torch.dtype) -> None:
        """Works forward and backward under bfloat16 autocast, whatever the layer before it gave."""
        module, inputs = self.make(F32), cast(self.inputs(), F32)
        exact = self.run(module, inputs)
        with torch.autocast("cpu", dtype=BF16):
            half = cast(inputs, dtype)
            result = self.run(module, half)
        self.check_result(module, half, result)
        if self.compares_half:
            for name, tensor in tensors(result).items():
                require_close(
                    tensor, tensors(exact)[name], self.half_tolerance, f"under autocast {name} goes astray"
                )
        self.backward(result)
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                require_finite(parameter.grad, f"under autocast the gradient of {name}")

    @staticmethod
    def backward(result: Any) -> bool:
        """Backward from every differentiable part of a result; False when there is none."""
        terms = [
            (tensor.to(F64) * noise(*tensor.shape, seed=7).to(tensor.device)).sum()
            for tensor in tensors(result).values()
            if tensor.requires_grad
        ]
        if terms:
            torch.stack(terms).sum().backward()
        return bool(terms)

    def test_live_options_need_no_training(self) -> None:
        """A trained state fits a build with another value of any option that says ``live``."""
        config = self.config()
        for name in live_options(type(config)):
            for other in self._others(config, name):
                torch.manual_seed(1)
                module = build(self.component_class(), other, self.own_sizes()).to(F64).eval()
                try:
                    module.load_state_dict(self.make().state_dict())
                except RuntimeError as error:
                    fail(
                        f"option {name} is live, but with {getattr(other, name)!r} the state is another: "
                        f"{' '.join(str(error).split())[:200]}"
                    )
                inputs = self.inputs()
                self.check_result(module, inputs, self.run(module, inputs))

    @classmethod
    def _others(cls, config: Any, name: str) -> list[Any]:
        """Configs with another value of a live option, those that can be built."""
        table = unstructure_config(config)
        rest = {key: value for key, value in table.items() if key not in live_options(type(config))}
        field = attrs.fields_dict(attrs.resolve_types(type(config)))[name]
        kinds = typing.get_args(field.type) if typing.get_origin(field.type) else (field.type,)
        values = [value for kind in kinds for value in _OTHERS.get(kind, [kind])]
        configs = []
        for value in values:
            # What excludes another option, as k and fraction, goes without it.
            for others in (table, rest):
                try:
                    other = structure_config(type(config), {**others, name: value})
                    build(cls.component_class(), other, cls.own_sizes())
                except (HacoreError, ValueError):
                    continue
                if getattr(other, name) != getattr(config, name):
                    configs.append(other)
                break
        return configs

    def test_gradients(self) -> None:
        """Every parameter that can be trained, and every input vector, receives a finite gradient."""
        module, inputs = self.make(train=True), self.inputs()
        moving = {name: tensor for name, tensor in tensors(inputs).items() if name in self.moving_inputs}
        for tensor in moving.values():
            tensor.requires_grad_()
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not self.backward(self.run(module, inputs)) and (trained or moving):
            fail("the result carries no gradient: it is detached, or computed under torch.no_grad")
        for name, parameter in trained.items():
            require(
                parameter.grad is not None,
                f"parameter {name} receives no gradient; use it in the result, or freeze it with "
                "requires_grad_(False)",
            )
            require_finite(parameter.grad, f"the gradient of parameter {name}")
        for name, tensor in moving.items():
            require(
                tensor.grad is not None and bool(tensor.grad.any()),
                f"the input {name} receives no gradient, so what comes before this component is "
                "not trained through it",
            )
            assert tensor.grad is not None
            require_finite(tensor.grad, f"the gradient of the input {name}")

    def test_inputs_are_left_alone(self) -> None:
        """Forward does not write into its inputs, which others still need."""
        for train in (False, True):
            inputs = self.inputs()
            before = copy(inputs)
            self.run(self.make(train=train), inputs)
            for name, tensor in tensors(inputs).items():
                require(
                    torch.equal(tensor, tensors(before)[name]),
                    f"forward writes into its input {name}; work on a copy",
                )

    def test_evaluation_repeats(self) -> None:
        """In evaluation mode two calls give the same result, bit for bit, and leave the state alone."""
        module, inputs = self.make(F32), cast(self.inputs(), F32)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        first, second = self.run(module, inputs), self.run(module, inputs)
        require_same(second, first, 0, "two calls in evaluation mode differ; is something drawn or counted?")
        for name, tensor in module.state_dict().items():
            require(
                torch.equal(tensor, before[name]), f"evaluation changes {name}; change state in training only"
            )

    def test_seed_fixes_the_start(self) -> None:
        """The same seed gives the same parameters and buffers."""
        first, second = self.make(seed=3).state_dict(), self.make(seed=3).state_dict()
        for name, tensor in first.items():
            require(
                torch.equal(tensor, second[name]),
                f"{name} differs between two builds after the same torch.manual_seed; draw with torch only",
            )

    def test_state_survives_a_checkpoint(self) -> None:
        """The state, saved without pickle and loaded strictly into a new build, gives the same result."""
        module, inputs = self.make(F32, train=True, seed=1), cast(self.inputs(), F32)
        self.run(module, inputs)  # statistics that move in training become part of the state
        state = module.state_dict()
        for name, value in state.items():
            require(isinstance(value, Tensor), f"state {name} is {type(value).__name__}, not a tensor")
        try:
            saved = save({name: tensor.contiguous() for name, tensor in state.items()})
        except RuntimeError as error:
            fail(f"the state cannot be saved as safetensors: {' '.join(str(error).split())[:200]}")
        other = self.make(F32, seed=2)
        try:
            other.load_state_dict(load(saved), strict=True)
        except RuntimeError as error:
            fail(f"the state does not load into a new build: {' '.join(str(error).split())[:200]}")
        require_same(
            self.run(other, inputs),
            self.run(module.eval(), inputs),
            self.tolerance,
            "after loading the state into a new build the result differs; "
            "is something it needs no parameter and no buffer?",
        )

    def test_moves_to_a_device(self) -> None:
        """Everything forward needs moves with ``.to(device)`` or is made on the device of the inputs."""
        module = self.make(F32)
        stray = stray_tensors(module)
        require(
            not stray,
            f"{', '.join(stray)} is a plain tensor, which .to(device) leaves behind; use register_buffer",
        )
        # The meta device computes shapes only, but complains as CUDA does when devices are mixed.
        module, inputs = module.to("meta"), cast(self.inputs(), F32, "meta")
        try:
            with OnesForScalars():
                result = self.run(module, inputs)
        except (RuntimeError, NotImplementedError) as error:
            text = " ".join(str(error).split())
            if "expected device" in text or "same device" in text:
                fail(f"forward makes a tensor on the CPU for inputs elsewhere; pass device=: {text[:120]}")
            pytest.skip(f"forward depends on values, so devices are checked on CUDA only: {text[:120]}")
        for name, tensor in tensors(result).items():
            require(
                tensor.is_meta or name in _ON_THE_CPU,
                f"{name} is on {tensor.device} for inputs elsewhere; pass device=",
            )

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_cuda(self) -> None:
        """On CUDA the result stays on the device and equals the CPU's."""
        module, inputs = self.make(), self.inputs()
        expected = self.run(module, inputs)
        actual = self.run(module.to("cuda"), cast(inputs, F64, "cuda"))
        for name, tensor in tensors(actual).items():
            require(tensor.is_cuda or name in _ON_THE_CPU, f"{name} is on {tensor.device} for inputs on CUDA")
        self.same_result(cast(actual, F64), expected, "CUDA and CPU differ")

    @classmethod
    def same_result(cls, actual: Any, expected: Any, message: str) -> None:
        """Two results mean the same."""
        require_same(actual, expected, cls.tolerance, message)
