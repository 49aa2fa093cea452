"""How the ordered pairs of many questions are cut into blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor

from hacore.machine.device import has_instructions

# Bytes of the buffers of one block: some L2 caches a thread; what products in the tiles of AMX need, whose
# start costs more than their memory; a share of a GPU's memory.
CPU_BYTES = 6 * 2**20
AMX_BYTES = 24 * 2**20
GPU_BYTES = 256 * 2**20


@attrs.frozen(kw_only=True)
class Block:
    """The pairs (i, j) of n questions that keep k cells each, i in [top, bottom), j in [0, k).

    question: the first of the n questions. cell: its first cell among the cells of all questions.
    """

    question: int
    cell: int
    n: int
    k: int
    top: int
    bottom: int

    @property
    def pairs(self) -> int:
        return self.n * (self.bottom - self.top) * self.k

    def per_question(self, x_Qx: Tensor) -> Tensor:
        return x_Qx[self.question : self.question + self.n]

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
    """Pairs in a block whose layers + 2 buffers take as many bytes as the constants above say.

    Measured on CPUs with 2 MiB of L2 a core, for widths 64 to 256: flat from 1.5 to 6 MiB a thread on an AMD
    EPYC; on an Intel Xeon with AMX falling up to 6 MiB in float32 and 24 MiB in bfloat16.
    """
    if like.device.type != "cpu":
        size = GPU_BYTES
    elif like.dtype == torch.bfloat16 and has_instructions("amx_tile"):
        size = AMX_BYTES
    else:
        size = CPU_BYTES * torch.get_num_threads()
    return max(1, size // ((layers + 2) * width * like.element_size()))


def blocks(groups: Sequence[tuple[int, int]], pairs_per_block: int) -> Iterator[Block]:
    """Cut groups of (number of questions, cells each) into blocks of at most that many pairs.

    A block is several questions, or one, or about equal parts of the rows of one, never less than a
    row of k pairs.
    """
    question = cell = 0
    for count, k in groups:
        if k == 0:
            question += count
            continue
        n = max(1, pairs_per_block // k**2)
        parts = -(-k // min(k, max(1, pairs_per_block // k)))
        rows = -(-k // parts)
        for start in range(0, count, n):
            for top in range(0, k, rows):
                yield Block(
                    question=question + start, cell=cell + start * k,
                    n=min(n, count - start), k=k, top=top, bottom=min(k, top + rows),
                )  # fmt: skip
        question, cell = question + count, cell + count * k
