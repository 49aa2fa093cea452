"""One process or many: the few collective operations the training needs."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import torch
import torch.distributed as dist
from torch import Tensor

from hacore.machine.threads import cores


@attrs.frozen(kw_only=True)
class World:
    """This process among all: rank in [0, processes)."""

    rank: int = 0
    processes: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def share_cores(self, threads: int | None, device: torch.device) -> None:
        """Set torch's threads: as many as asked for, or this process's share of the cores they may use."""
        if threads:
            torch.set_num_threads(threads)
        elif self.processes > 1 and device.type == "cpu":
            torch.set_num_threads(max(1, cores() // self.processes))


def launched() -> bool:
    """Whether torchrun, or hacore in its place, started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def leading() -> bool:
    """Whether this process is the only one, or the first of several; known before they are joined."""
    return not launched() or os.environ["RANK"] == "0"


@contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Join the other processes if there are any, and leave them at the end."""
    if not launched():
        yield World()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=datetime.timedelta(minutes=30))
    try:
        yield World(rank=dist.get_rank(), processes=dist.get_world_size())
        # Together: a process that leaves while another still talks to it may be aborted by gloo's threads.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def gather_bytes(tensor: Tensor) -> list[Tensor]:
    """Every process's uint8 tensor, all of one length, by rank."""
    if not dist.is_initialized():
        return [tensor]
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return parts


def broadcast_text(text: str) -> str:
    """Rank 0's text, on every process."""
    if not dist.is_initialized():
        return text
    box = [text]
    dist.broadcast_object_list(box)
    return box[0]


def barrier() -> None:
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


@torch.no_grad()
def share_buffers(model: torch.nn.Module) -> None:
    """Give every process the mean of all processes' floating-point buffers, and rank 0's others.

    The running statistics of batch normalisation follow each process's own share of the data; after
    this all processes hold one model. The statistics are linear in what they have seen, so their
    values do not depend on how often this is called, up to rounding.
    """
    buffers = list(model.buffers())
    if not dist.is_initialized() or not buffers:
        return
    own = [
        1 / dist.get_world_size() if b.is_floating_point() else float(dist.get_rank() == 0) for b in buffers
    ]
    # In float64 the mean of equal float32 numbers is that number, so constants stay what they are.
    flat = torch.cat([b.reshape(-1).double() * share for b, share in zip(buffers, own, strict=True)])
    dist.all_reduce(flat)
    for buffer, shared in zip(buffers, torch.split(flat, [b.numel() for b in buffers]), strict=True):
        buffer.copy_(shared.view_as(buffer))


class GradientSum:
    """Sums gradients over processes in one message, with a few numbers that ride along.

    Each process's loss is divided by the question count of the whole step, so the sum is the
    gradient of the mean, however the questions were shared out.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], extra: int) -> None:
        sizes = [parameter.numel() for parameter in parameters]
        self._flat = torch.zeros(sum(sizes) + extra, dtype=torch.float32, device=parameters[0].device)
        *parts, self.extra = self._flat.split([*sizes, extra])
        self._parts = [(own, part.view_as(own)) for own, part in zip(parameters, parts, strict=True)]

    def __call__(self) -> None:
        """Replace every ``grad`` by the sum over processes; ``extra`` is summed too."""
        for parameter, part in self._parts:
            part.copy_(torch.zeros_like(part) if parameter.grad is None else parameter.grad)
        dist.all_reduce(self._flat)
        for parameter, part in self._parts:
            parameter.grad = part
