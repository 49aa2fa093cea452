"""Cells that are fused when they are asked for: the same numbers and gradients, paid for the kept ones."""

import pytest
import torch
from hacore_fuse import Config, ImageOnlyConfig, MultiplyConfig
from hacore_fuse.fusers import Add, Concat, ImageOnly, Multiply
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore import interfaces
from hacore.interfaces import Cells, FusedCells, Question, Sizes, build, grid_positions
from hacore.selection import keep_cells, keep_leading, l2_presence, strongest_first

FUSERS = {
    "add": (Add, Config),
    "concat": (Concat, Config),
    "multiply": (Multiply, MultiplyConfig),
    "image-only": (ImageOnly, ImageOnlyConfig),
}


def inputs(name, layers=1, *, images=3, questions=7, grid=(3, 4), channels=5, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    sizes = Sizes(
        image=(3, 8, 8), words=5, answers=2, grid=grid, cell_channels=channels, question_channels=channels
    )
    cls, config = FUSERS[name]
    fuser = build(cls, config() if name == "image-only" else config(width=6, layers=layers), sizes).to(dtype)
    features = torch.randn(images, sizes.cells, channels, dtype=dtype, requires_grad=True)
    cells = Cells(features=features, positions=grid_positions(grid), grid=grid)
    question = Question(torch.randn(questions, channels, dtype=dtype, requires_grad=True))
    return fuser, cells, question, torch.randint(0, images, (questions,))


def kept(fused, k):
    presence_QN = l2_presence(fused)
    return keep_cells(fused, strongest_first(presence_QN)[:, :k], presence_QN)


def at_once(fused):
    """The same cells as one tensor with gradient, as a fuser that defers nothing gives them."""
    return Cells(features=fused.features, positions=fused.positions, grid=fused.grid)


def gradients(features_QKC, fuser, cells, question):
    leaves = [*fuser.parameters(), cells.features, question.vector_QC]
    weights = torch.linspace(-1, 1, features_QKC.numel()).view_as(features_QKC).to(features_QKC)
    return torch.autograd.grad((features_QKC * weights).sum(), leaves, allow_unused=True)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(FUSERS)),
    layers=st.integers(0, 2),
    images=st.integers(1, 3),
    questions=st.integers(1, 8),
    k=st.integers(1, 12),
    block=st.sampled_from([1, 150, 2**17]),
    seed=st.integers(0, 1000),
)
def test_kept_cells_and_gradients_are_those_of_all_cells_at_once(
    name, layers, images, questions, k, block, seed
):
    fuser, cells, question, image_index_Q = inputs(
        name, layers, images=images, questions=questions, seed=seed
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interfaces, "BLOCK", block)
        ours = kept(fuser(cells, question, image_index_Q), k)
    theirs = kept(at_once(fuser(cells, question, image_index_Q)), k)
    torch.testing.assert_close(ours.presence_QN, theirs.presence_QN)
    assert torch.equal(ours.index_QK, theirs.index_QK)
    torch.testing.assert_close(ours.features_QKC, theirs.features_QKC)
    pairs = zip(
        gradients(ours.features_QKC, fuser, cells, question),
        gradients(theirs.features_QKC, fuser, cells, question),
        strict=True,
    )
    for mine, other in pairs:
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_weights_learn_under_autocast_though_a_pass_without_gradient_came_first(name):
    fuser, cells, question, image_index_Q = inputs(name, dtype=torch.float32, channels=16)
    with torch.autocast("cpu", torch.bfloat16):
        ours = kept(fuser(cells, question, image_index_Q), 4)
        theirs = keep_cells(at_once(fuser(cells, question, image_index_Q)), ours.index_QK, ours.presence_QN)
    mine = gradients(ours.features_QKC, fuser, cells, question)
    for own, other in zip(mine, gradients(theirs.features_QKC, fuser, cells, question), strict=True):
        torch.testing.assert_close(own, other, rtol=0.02, atol=0.02 * float(other.abs().max()))


def test_varying_numbers_of_cells():
    fuser, cells, question, image_index_Q = inputs("multiply")
    counts_Q = torch.tensor([1, 5, 2, 4, 3, 1, 5])

    def leading(fused):
        presence_QN = l2_presence(fused)
        return keep_leading(fused, presence_QN, strongest_first(presence_QN), counts_Q, None)

    ours, theirs = (
        leading(fuser(cells, question, image_index_Q)),
        leading(at_once(fuser(cells, question, image_index_Q))),
    )
    torch.testing.assert_close(ours.features_QKC, theirs.features_QKC)
    assert torch.equal(ours.valid_QK, theirs.valid_QK)


class Counting:
    """Vectors of ones, and how many were fused with gradient."""

    def __init__(self, questions, cells):
        self.shape, self.with_gradient, self.largest = (questions, cells), 0, 0

    def __call__(self, questions, index_QK):
        shape = torch.ones(self.shape)[questions].shape if index_QK is None else index_QK.shape
        count = shape[0] * shape[1]
        self.largest = max(self.largest, count)
        self.with_gradient += count * torch.is_grad_enabled()
        return torch.ones(*shape, 2)


def counted(questions=6, grid=(3, 4)):
    count = Counting(questions, grid[0] * grid[1])
    positions = grid_positions(grid)
    cells = FusedCells(fuse=count, questions=questions, channels=2, positions=positions, grid=grid)
    return count, cells


def test_only_kept_cells_are_fused_with_gradient_and_others_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(interfaces, "BLOCK", 48)
    count, cells = counted()
    kept(cells, 3)
    assert count.with_gradient == 6 * 3
    assert count.largest == 24  # two questions of twelve cells


def test_features_are_fused_once_whatever_asks_for_them_afterwards():
    count, cells = counted()
    assert cells.features is cells.features
    kept(cells, 3)
    assert count.with_gradient == 6 * 12


def test_many_kept_cells_are_not_fused_twice():
    count, cells = counted()
    kept(cells, 11)
    assert count.with_gradient == 6 * 12
