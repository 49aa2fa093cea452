"""How the ordered pairs of many questions are cut into blocks, and run on the threads of a CPU."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TypeVar

import attrs
import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

Result = TypeVar("Result")

# Bytes of the buffers of one block: the L2 cache of a core; on a GPU enough to fill it.
CPU_BYTES = 2 * 2**20
GPU_BYTES = 256 * 2**20


@attrs.frozen(kw_only=True)
class Block:
    """The pairs (i, j) of n questions that keep k cells each, i in [top, bottom), j in [0, k).

    question: the first of the n questions. cell: its first cell among the cells of all questions.
    pair: the number of pairs in the blocks before this one.
    """

    question: int
    cell: int
    pair: int
    n: int
    k: int
    top: int
    bottom: int

    @property
    def pairs(self) -> int:
        return self.n * (self.bottom - self.top) * self.k

    def per_question(self, x_Qx: Tensor) -> Tensor:
        return x_Qx[self.question : self.question + self.n]

    def per_pair(self, x_Px: Tensor) -> Tensor:
        return x_Px[self.pair : self.pair + self.pairs]

    def second(self, x_Tx: Tensor) -> Tensor:
        """The second cells of the pairs: (n, k, ...)."""
        return x_Tx[self.cell : self.cell + self.n * self.k].view(self.n, self.k, *x_Tx.shape[1:])

    def first(self, x_Tx: Tensor) -> Tensor:
        """The first cells of the pairs: (n, bottom - top, ...)."""
        return self.second(x_Tx)[:, self.top : self.bottom]

    def grid(self, x_Px: Tensor) -> Tensor:
        """(pairs, ...) as (n, bottom - top, k, ...)."""
        return x_Px.view(self.n, self.bottom - self.top, self.k, *x_Px.shape[1:])


def automatic_pairs(width: int, layers: int, like: Tensor) -> int:
    """Pairs in a block whose layers + 2 buffers fill the cache of a core, or 256 MiB of a GPU."""
    size = CPU_BYTES if like.device.type == "cpu" else GPU_BYTES
    return max(1, size // ((layers + 2) * width * like.element_size()))


def blocks(groups: Sequence[tuple[int, int]], pairs_per_block: int) -> Iterator[Block]:
    """Cut groups of (number of questions, cells each) into blocks of at most that many pairs.

    A block is several questions, or one, or about equal parts of the rows of one, never less than a
    row of k pairs.
    """
    question = cell = pair = 0
    for count, k in groups:
        if k == 0:
            question += count
            continue
        n = max(1, pairs_per_block // k**2)
        parts = -(-k // min(k, max(1, pairs_per_block // k)))
        rows = -(-k // parts)
        for start in range(0, count, n):
            for top in range(0, k, rows):
                block = Block(
                    question=question + start, cell=cell + start * k, pair=pair,
                    n=min(n, count - start), k=k, top=top, bottom=min(k, top + rows),
                )  # fmt: skip
                yield block
                pair += block.pairs
        question, cell = question + count, cell + count * k


def run_blocks(
    plan: list[Block], device: torch.device, work: Callable[[list[Block]], Result]
) -> list[Result]:
    """What ``work`` returns for consecutive parts of the plan, one part a thread, in their order.

    On a CPU a block is too small for the threads of one operation: waiting for each other costs them
    more than they gain. So every thread runs whole blocks, single-threaded. No question is in two
    parts. Under a dispatch mode (it counts operations, say), which does not see other threads, and on
    other devices there is one part.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(plan) < 2 or is_in_torch_dispatch_mode():
        return [work(plan)]
    total = plan[-1].pair + plan[-1].pairs
    starts: dict[int, int] = {}
    parts = [
        list(part)
        for _, part in groupby(
            plan, lambda block: starts.setdefault(block.question, block.pair * threads // total)
        )
    ]
    if len(parts) == 1:
        return [work(plan)]
    inference = torch.is_inference_mode_enabled()

    def without_grad(part: list[Block]) -> Result:  # both modes are of a thread, not of a program
        with torch.inference_mode(inference), torch.no_grad():
            return work(part)

    return list(_workers(threads, os.getpid()).map(without_grad, parts))


@functools.lru_cache(maxsize=1)
def _workers(threads: int, process: int) -> ThreadPoolExecutor:
    """A pool whose threads run each operation on one thread; a forked process gets its own."""
    pool = ThreadPoolExecutor(threads, "rn", initializer=torch.set_num_threads, initargs=(1,))
    started = threading.Barrier(threads)
    list(pool.map(lambda _: started.wait(), range(threads)))
    torch.set_num_threads(threads)  # the workers' setting is also the default of threads yet to come
    return pool
