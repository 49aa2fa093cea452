"""Blocks of pairs, and the sum over them without the module around it."""

from __future__ import annotations

import subprocess
import sys

import torch
from hacore_rn.blocks import blocks
from hacore_rn.pairs import pair_sum
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=1, max_size=4), st.integers(1, 150))
def test_blocks_hold_every_pair_once_and_keep_their_bound(groups: list[tuple[int, int]], limit: int) -> None:
    pairs = []
    for block in blocks(groups, limit):
        assert block.pairs <= max(limit, block.k)
        for q in range(block.n):
            base = block.cell + q * block.k
            pairs += [
                (block.question + q, base + i, base + j)
                for i in range(block.top, block.bottom)
                for j in range(block.k)
            ]
    expected, question, cell = [], 0, 0
    for count, k in groups:
        for _ in range(count):
            expected += [(question, cell + i, cell + j) for i in range(k) for j in range(k)]
            question, cell = question + 1, cell + k
    assert sorted(pairs) == expected


def test_pair_sum_without_layers_after_the_first() -> None:
    a_TW, b_TW = torch.randn(2, 6, 3).unbind()
    total = pair_sum(a_TW, b_TW, [(2, 3)], [], [])
    expected = F.relu(a_TW.view(2, 3, 1, 3) + b_TW.view(2, 1, 3, 3)).sum((1, 2))
    torch.testing.assert_close(total, expected)


def test_the_module_does_not_wait_for_the_compiler_to_be_imported() -> None:
    program = "import hacore_rn.rn, sys; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
