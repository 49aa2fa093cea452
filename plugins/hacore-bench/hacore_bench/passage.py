"""One pass through the stages of a model: how long each took, and its graph cut after each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from hacore.interfaces import FusedCells
from hacore_bench.clock import Clock

Span = tuple[Any, Any]
"""Two marks of a clock."""


class Passage:
    """The stages of a model run one after another, each on copies of what the ones before it gave.

    Cells that are fused when a selector asks for them are cut there, and count as the fuser's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._part = ""
        self._forward: defaultdict[str, list[Span]] = defaultdict(list)
        self._within: defaultdict[str, list[Span]] = defaultdict(list)  # time of others in a part's span
        self._backward: defaultdict[str, list[Span]] = defaultdict(list)
        self._cuts: defaultdict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def run(self, part: str, work: Callable[[], Any]) -> Any:
        """What a part gives, cut from its graph."""
        self._part = part
        start = self._clock.mark()
        output = work()
        self._forward[part].append((start, self._clock.mark()))
        return self._cut(part, output)

    def backward(self, part: str, *, begins: bool = False) -> None:
        """The part's backward pass from the gradients that the parts after it left; nothing without any.

        begins: the part is the loss.
        """
        pairs = [
            (output, copy.grad)
            for output, copy in self._cuts[part]
            if output.requires_grad and (begins or copy.grad is not None)
        ]
        if not pairs:
            return
        start = self._clock.mark()
        torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
        self._backward[part].append((start, self._clock.mark()))

    def forward_seconds(self) -> dict[str, float]:
        """Of each part; to be read when the device is done."""
        return {
            part: self._seconds(spans) - self._seconds(self._within[part])
            for part, spans in self._forward.items()
        }

    def backward_seconds(self) -> dict[str, float]:
        """Of each part that has a backward pass."""
        return {part: self._seconds(spans) for part, spans in self._backward.items()}

    def _seconds(self, spans: list[Span]) -> float:
        return sum(self._clock.seconds(start, end) for start, end in spans)

    def _cut(self, part: str, output: Any) -> Any:
        if isinstance(output, Tensor):
            copy = output.detach().requires_grad_(output.requires_grad)
            self._cuts[part].append((output, copy))
            return copy
        if isinstance(output, FusedCells):
            output.fuse = self._noted(part, output.fuse)
            return output
        fields = attrs.asdict(output, recurse=False)
        cut = {name: self._cut(part, value) for name, value in fields.items() if isinstance(value, Tensor)}
        return attrs.evolve(output, **cut)

    def _noted(self, part: str, fuse: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*which: Any) -> Tensor:
            start = self._clock.mark()
            vectors = fuse(*which)
            span = start, self._clock.mark()
            self._forward[part].append(span)
            self._within[self._part].append(span)
            copy: Tensor = self._cut(part, vectors)
            return copy

        # Clocks and lists are no part of a graph.
        eager: Callable[..., Tensor] = torch.compiler.disable(run)
        return eager
