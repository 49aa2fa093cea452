"""What a selector promises."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from hacore.interfaces import BLOCK, Cells, FusedCells, Question, Selection, gather_cells, grid_positions
from hacore_testing._checks import copy, require, require_close, require_finite, require_tensor
from hacore_testing._module import F64, Inputs, noise
from hacore_testing._question import QuestionReaderContract, make_question, pick

QUESTIONS = 4


def kept(selection: Selection, question: int) -> dict[int, Tensor]:
    """{cell: its vector with its weight appended} of a question's valid cells.

    Mixtures have no cell; they are numbered by the sum of their shares times the cells' numbers.
    """
    features_QKC, weight_QK = selection.features_QKC, selection.weight_QK
    if weight_QK is None:
        weight_QK = torch.ones_like(features_QKC[..., 0])
    rows = torch.cat([features_QKC, weight_QK.unsqueeze(-1).to(features_QKC.dtype)], -1)[question].detach()
    index = selection.index_QK[question]
    valid = torch.ones_like(index, dtype=torch.bool)
    if selection.valid_QK is not None:
        valid = selection.valid_QK[question]
    index, rows = index[valid], rows[valid]
    if selection.share_QKN is not None:
        number = torch.arange(selection.share_QKN.shape[2]).to(selection.share_QKN)
        rows = rows[(selection.share_QKN[question].detach() @ number)[valid].argsort()]
        index = torch.arange(len(rows))
    return dict(zip(index.tolist(), rows, strict=True))


class SelectorContract(QuestionReaderContract):
    """Cells of questions, ``Question`` -> Selection."""

    moving_inputs = ("features",)
    compares_half = False  # in bfloat16 other cells may be the strongest

    @classmethod
    def inputs(cls, seed: int = 0) -> Inputs:
        sizes = cls.sizes
        features = noise(QUESTIONS, sizes.cells, sizes.cell_channels, seed=seed)
        # Questions whose cells differ more or less, so that adaptive selectors keep different numbers.
        spread = torch.linspace(0.1, 3, QUESTIONS, dtype=F64).view(-1, 1, 1)
        return {
            "cells": Cells(
                features=features * spread, positions=grid_positions(sizes.grid).to(F64), grid=sizes.grid
            ),
            "question": make_question(sizes, QUESTIONS, seed, oracle=cls.component_class().oracle),
        }

    @classmethod
    def check_result(cls, module: Any, inputs: Inputs, result: Any) -> None:
        require(
            isinstance(result, Selection), f"forward must return Selection, found {type(result).__name__}"
        )
        cells: Cells = inputs["cells"]
        questions, count, _ = cells.features.shape
        index = result.index_QK
        require(
            isinstance(index, Tensor) and index.dtype == torch.int64 and index.dim() == 2,
            "index_QK must be an int64 tensor (Q, K)",
        )
        width = index.shape[1]
        require(
            len(index) == questions and width > 0,
            f"index_QK has shape {tuple(index.shape)}; must be ({questions}, K) with K at least 1",
        )
        require(
            int(index.min()) >= 0 and int(index.max()) < count,
            f"index_QK reaches from {int(index.min())} to {int(index.max())}; must lie in [0, {count}), "
            "where invalid too",
        )
        require_tensor(
            result.features_QKC,
            "features_QKC",
            (questions, width, module.out_channels),
            "(Q, K, out_channels)",
        )
        require_tensor(result.presence_QN, "presence_QN", (questions, count), "(Q, N)")
        require(
            not result.presence_QN.requires_grad,
            "presence_QN carries a gradient; detach it, it is for pictures",
        )
        if result.weight_QK is not None:
            require_tensor(result.weight_QK, "weight_QK", (questions, width), "(Q, K)")
        if result.loss is not None:
            require_tensor(result.loss, "loss", (), "a scalar ()")
        valid = result.valid_QK
        if valid is not None:
            require(valid.dtype == torch.bool, f"valid_QK is {valid.dtype}; must be torch.bool")
            require_tensor(valid, "valid_QK", (questions, width), "(Q, K)")
        require(
            result.grid == cells.grid and torch.equal(result.positions_N2, cells.positions),
            "positions_N2 and grid must be those of the cells that came in",
        )
        cls.check_shares(result, valid)
        for question in range(questions):
            keeps = index[question] if valid is None else index[question][valid[question]]
            require(len(keeps) > 0, f"question {question} keeps no cell; at least one must be valid")
            require(
                result.share_QKN is not None or len(keeps.unique()) == len(keeps),
                f"question {question} keeps a cell twice: {sorted(keeps.tolist())}",
            )

    @classmethod
    def check_shares(cls, result: Selection, valid_QK: Tensor | None) -> None:
        """Of mixtures: shares are none below 0, 1 in all, and the largest is that of ``index_QK``."""
        share_QKN = result.share_QKN
        if share_QKN is None:
            return
        require_tensor(share_QKN, "share_QKN", (*result.index_QK.shape, cls.sizes.cells), "(Q, K, N)")
        shares = share_QKN.detach().double()
        shares = shares.flatten(0, 1) if valid_QK is None else shares[valid_QK]
        index = result.index_QK.flatten() if valid_QK is None else result.index_QK[valid_QK]
        require(float(shares.min()) >= 0, f"share_QKN has entries below 0, as {float(shares.min()):.2g}")
        apart = float((shares.sum(-1) - 1).abs().max())
        # A softmax under autocast adds up to 1 within its rounding.
        allowed = max(1e-3, 2 * torch.finfo(share_QKN.dtype).eps)
        require(apart < allowed, f"the shares of a mixture must add up to 1; they miss it by {apart:.2g}")
        named = shares.gather(1, index.unsqueeze(1)).squeeze(1)
        require(
            torch.equal(named, shares.amax(-1)),
            "index_QK of a mixture must name the cell of its largest share",
        )

    @classmethod
    def same_result(cls, actual: Any, expected: Any, message: str) -> None:
        """Each question keeps the same cells with the same vectors and weights, in whatever order."""
        for question in range(len(expected.index_QK)):
            left, right = kept(actual, question), kept(expected, question)
            require(
                left.keys() == right.keys(),
                f"{message}: question {question} keeps cells {sorted(left)} instead of {sorted(right)}",
            )
            for cell in right:
                require_close(left[cell], right[cell], cls.tolerance, f"{message}: cell {cell}")
        require_close(actual.presence_QN, expected.presence_QN, cls.tolerance, f"{message}: presence_QN")

    def test_features_are_gathered(self) -> None:
        """The kept vectors are the input's at ``index_QK``; a factor belongs into ``weight_QK``."""
        for train in (False, True):
            inputs = self.inputs()
            selection = self.run(self.make(train=train), inputs)
            if selection.share_QKN is not None:
                self.check_mixtures(selection, inputs["cells"].features)
                continue
            for question, features_NC in enumerate(inputs["cells"].features):
                for cell, row in kept(selection, question).items():
                    require(
                        torch.equal(row[:-1], features_NC[cell]),
                        f"the vector kept for cell {cell} is not that of the cell; gather features at "
                        "index_QK and leave them as they are, factors belong into weight_QK",
                    )

    @classmethod
    def check_mixtures(cls, selection: Selection, features_QNC: Tensor) -> None:
        """The vectors are the cells' in the shares that ``share_QKN`` says."""
        assert selection.share_QKN is not None
        mixed_QKC = selection.share_QKN.to(features_QNC.dtype) @ features_QNC
        valid_QK = torch.ones_like(selection.index_QK, dtype=torch.bool)
        if selection.valid_QK is not None:
            valid_QK = selection.valid_QK
        require_close(
            selection.features_QKC[valid_QK],
            mixed_QKC[valid_QK],
            max(cls.tolerance, 1e-5),
            "the vectors of a mixture are not the cells' in the shares of share_QKN; factors belong into "
            "weight_QK",
        )

    def test_questions_do_not_meet(self) -> None:
        """A question alone keeps the cells, with the weights, that it keeps in a batch."""
        module, inputs = self.make(), self.inputs()
        cells, together = inputs["cells"], self.run(module, inputs)
        for question in range(QUESTIONS):
            one = slice(question, question + 1)
            expected = Selection(
                features_QKC=together.features_QKC[one],
                index_QK=together.index_QK[one],
                presence_QN=together.presence_QN[one],
                positions_N2=together.positions_N2,
                grid=together.grid,
                valid_QK=None if together.valid_QK is None else together.valid_QK[one],
                weight_QK=None if together.weight_QK is None else together.weight_QK[one],
                share_QKN=None if together.share_QKN is None else together.share_QKN[one],
            )
            alone = module(attrs.evolve(cells, features=cells.features[one]), pick(inputs["question"], one))
            self.same_result(alone, expected, f"question {question} alone and in a batch differ")

    def test_cell_order_does_not_matter(self) -> None:
        """Cells in another order, their positions with them, are kept all the same."""
        module, inputs = self.make(), self.inputs()
        cells, expected = inputs["cells"], self.run(module, inputs)
        order = torch.randperm(len(cells.positions), generator=torch.Generator().manual_seed(5))
        question: Question = inputs["question"]
        if question.relevant_QN is not None:
            question = attrs.evolve(question, relevant_QN=question.relevant_QN[:, order])
        moved = module(
            attrs.evolve(cells, features=cells.features[:, order], positions=cells.positions[order]), question
        )
        presence_QN = torch.empty_like(moved.presence_QN)
        presence_QN[:, order] = moved.presence_QN
        share_QKN = None
        if moved.share_QKN is not None:
            share_QKN = torch.empty_like(moved.share_QKN)
            share_QKN[..., order] = moved.share_QKN
        back = attrs.evolve(
            moved, index_QK=order[moved.index_QK], presence_QN=presence_QN, share_QKN=share_QKN
        )
        self.same_result(back, expected, "cells in another order, positions with them, are not kept alike")

    def test_equal_cells(self) -> None:
        """An image whose cells are all zero gives a selection like any other, and finite gradients."""
        module, inputs = self.make(), copy(self.inputs())
        features = inputs["cells"].features.zero_().requires_grad_()
        result = self.run(module, inputs)
        self.check_result(module, inputs, result)
        self.backward(result)
        for name, tensor in [("features", features), *module.named_parameters()]:
            if tensor.grad is not None:
                require_finite(tensor.grad, f"for cells that are all zero the gradient of {name}")

    def test_kept_cells_are_trained(self) -> None:
        """The gradient reaches every kept cell; selection without it would never be learned."""
        module, inputs = self.make(train=True), self.inputs()
        features = inputs["cells"].features.requires_grad_()
        selection = self.run(module, inputs)
        require(selection.features_QKC.requires_grad, "features_QKC is detached; kept cells need a gradient")
        self.backward(selection.features_QKC)
        assert features.grad is not None
        # Of a mixture every cell that has a share in it.
        used_QN = attrs.evolve(selection, weight_QK=None).used_QN
        for question, cell in used_QN.nonzero().tolist():
            require(
                bool(features.grad[question, cell].any()),
                f"cell {cell} of question {question} is kept but receives no gradient",
            )

    def test_fused_cells(self) -> None:
        """Cells that are fused when they are asked for are kept as plain ones are, with the same gradient."""
        results, gradients = [], []
        for fuses in (False, True):
            inputs = copy(self.inputs())
            cells: Cells = inputs["cells"]
            features = cells.features.requires_grad_()
            if fuses:
                inputs["cells"] = _fused(cells)
            torch.manual_seed(1)
            # Made anew, as training may move what a module remembers.
            results.append(self.run(self.make(train=True), inputs))
            self.backward(results[-1].features_QKC)
            assert features.grad is not None
            gradients.append(features.grad)
        self.same_result(results[1], results[0], "cells that are fused when asked for are not kept alike")
        require_close(
            gradients[1],
            gradients[0],
            1e-9,
            "the gradient of cells that are fused when asked for differs; take vectors from cells.gather or "
            "cells.features, and nothing with gradient from cells.blocks",
        )


def _fused(cells: Cells) -> FusedCells:
    def fuse(questions: slice, index_QK: Tensor | None) -> Tensor:
        features_QNC = cells.features[questions]
        return features_QNC.clone() if index_QK is None else gather_cells(features_QNC, index_QK)

    return FusedCells(
        fuse=fuse,
        questions=len(cells.features),
        channels=BLOCK,  # so that each question is a block
        positions=cells.positions,
        grid=cells.grid,
    )
