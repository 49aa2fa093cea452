"""What an aggregator promises."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from hacore.interfaces import Selection, grid_positions
from hacore_testing._checks import cast, require, require_close, require_finite, require_tensor
from hacore_testing._module import F32, F64, Inputs, noise
from hacore_testing._question import GARBAGE, QuestionReaderContract, make_question, pick

# Kept cells of each question; the places that are valid are scattered over K.
COUNTS = (6, 1, 4, 3)
KEPT = 6


def one_question(selection: Selection, question: int) -> Selection:
    """The selection of one question alone."""
    one = slice(question, question + 1)

    def cut(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[one]

    return attrs.evolve(
        selection,
        features_QKC=selection.features_QKC[one],
        index_QK=selection.index_QK[one],
        presence_QN=selection.presence_QN[one],
        valid_QK=cut(selection.valid_QK),
        weight_QK=cut(selection.weight_QK),
    )


def take(selection: Selection, columns: Tensor) -> Selection:
    """The selection with these of its K places."""
    valid_QK, weight_QK = selection.valid_QK, selection.weight_QK
    return attrs.evolve(
        selection,
        features_QKC=selection.features_QKC[:, columns],
        index_QK=selection.index_QK[:, columns],
        valid_QK=None if valid_QK is None else valid_QK[:, columns],
        weight_QK=None if weight_QK is None else weight_QK[:, columns],
    )


class AggregatorContract(QuestionReaderContract):
    """Selection, ``Question`` -> (Q, C)."""

    moving_inputs = ("features_QKC",)

    @classmethod
    def inputs(cls, seed: int = 0) -> Inputs:
        sizes = cls.sizes
        generator = torch.Generator().manual_seed(seed)
        questions = len(COUNTS)
        kept = min(KEPT, sizes.cells)
        index_QK = torch.stack([torch.randperm(sizes.cells, generator=generator)[:kept] for _ in COUNTS])
        rank_QK = torch.stack([torch.randperm(kept, generator=generator) for _ in COUNTS])
        selection = Selection(
            features_QKC=noise(questions, kept, sizes.cell_channels, seed=seed),
            index_QK=index_QK,
            presence_QN=noise(questions, sizes.cells, seed=seed + 1).abs(),
            positions_N2=grid_positions(sizes.grid).to(F64),
            grid=sizes.grid,
            valid_QK=rank_QK < torch.tensor(COUNTS).unsqueeze(1),
            weight_QK=torch.rand(questions, kept, dtype=F64, generator=generator) + 0.5,
        )
        return {
            "selection": selection,
            "question": make_question(sizes, questions, seed, oracle=cls.component_class().oracle),
        }

    @classmethod
    def check_result(cls, module: Any, inputs: Inputs, result: Any) -> None:
        shape = (len(inputs["question"].vector_QC), module.out_channels)
        require_tensor(result, "the result", shape, "(Q, out_channels)")

    @pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
    @pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
    def test_all_kinds_of_selection(self, ragged: bool, weighted: bool) -> None:
        """Takes selections with and without ``valid_QK`` and ``weight_QK``."""
        module, inputs = self.make(F32), cast(self.inputs(), F32)
        blank = {"valid_QK": ragged, "weight_QK": weighted}
        selection = attrs.evolve(
            inputs["selection"], **{name: None for name, given in blank.items() if not given}
        )
        inputs = {**inputs, "selection": selection}
        self.check_result(module, inputs, self.run(module, inputs))

    def test_takes_mixtures(self) -> None:
        """Takes selections whose vectors are mixtures of cells, ``share_QKN``."""
        module, inputs = self.make(), self.inputs()
        selection: Selection = inputs["selection"]
        shares = noise(*selection.index_QK.shape, self.sizes.cells, seed=13).softmax(-1)
        mixed = attrs.evolve(selection, share_QKN=shares, index_QK=shares.argmax(-1))
        self.check_result(module, inputs, module(mixed, inputs["question"]))

    def test_none_means_all_and_ones(self) -> None:
        """``valid_QK`` None is all valid, ``weight_QK`` None is ones."""
        module, inputs = self.make(), self.inputs()
        bare = attrs.evolve(inputs["selection"], valid_QK=None, weight_QK=None)
        expected = module(bare, inputs["question"])
        ones_QK = torch.ones_like(inputs["selection"].weight_QK)
        for name, value in (("valid_QK", ones_QK.bool()), ("weight_QK", ones_QK)):
            require_close(
                module(attrs.evolve(bare, **{name: value}), inputs["question"]),
                expected,
                self.tolerance,
                f"{name} of all ones and {name} = None give different results",
            )

    def test_padding_has_no_influence(self) -> None:
        """What invalid places hold, and how many there are, leaves the result and the gradient alone."""
        module, inputs = self.make(), self.inputs()
        selection: Selection = inputs["selection"]
        expected = self.run(module, inputs)
        questions, kept, channels = selection.features_QKC.shape
        assert selection.valid_QK is not None
        assert selection.weight_QK is not None
        width = kept + 3
        valid_QK = torch.nn.functional.pad(selection.valid_QK, (0, 3))
        features = torch.where(
            valid_QK.unsqueeze(2),
            torch.nn.functional.pad(selection.features_QKC, (0, 0, 0, 3)),
            GARBAGE * noise(questions, width, channels, seed=11),
        ).requires_grad_()
        padded = attrs.evolve(
            selection,
            features_QKC=features,
            valid_QK=valid_QK,
            index_QK=torch.where(valid_QK, torch.nn.functional.pad(selection.index_QK, (0, 3)), 0),
            weight_QK=torch.where(
                valid_QK,
                torch.nn.functional.pad(selection.weight_QK, (0, 3)),
                GARBAGE * noise(questions, width, seed=12).abs(),
            ),
        )
        actual = module(padded, inputs["question"])
        require_close(
            actual, expected, self.tolerance, "invalid places leak into the result; mask them with valid_QK"
        )
        self.backward(actual)
        assert features.grad is not None
        require(
            not features.grad[~valid_QK].any(),
            "invalid places receive a gradient; mask them with valid_QK before they meet others",
        )
        require_finite(features.grad, "with large numbers at invalid places the gradient of features_QKC")

    def test_order_of_kept_cells_does_not_matter(self) -> None:
        """The kept cells in another order give the same result."""
        module, inputs = self.make(), self.inputs()
        order = torch.arange(inputs["selection"].index_QK.shape[1]).flip(0)
        require_close(
            module(take(inputs["selection"], order), inputs["question"]),
            self.run(module, inputs),
            self.tolerance,
            "the result depends on the order of the kept cells",
        )

    def test_questions_do_not_meet(self) -> None:
        """A question alone, with its valid cells only, gives what it gives in a batch."""
        module, inputs = self.make(), self.inputs()
        together_QC = self.run(module, inputs)
        for question, count in enumerate(COUNTS):
            alone = one_question(inputs["selection"], question)
            assert alone.valid_QK is not None
            trimmed = attrs.evolve(take(alone, alone.valid_QK[0].nonzero().squeeze(1)), valid_QK=None)
            one = pick(inputs["question"], slice(question, question + 1))
            for what, selection in (("", alone), (", without its invalid places,", trimmed)):
                require_close(
                    module(selection, one),
                    together_QC[question : question + 1],
                    self.tolerance,
                    f"a question with {count} valid cells alone{what} and in a batch differ",
                )

    def test_weights_count(self) -> None:
        """``weight_QK`` receives a finite gradient; soft attention learns by nothing else."""
        module, inputs = self.make(), self.inputs()
        weight_QK = inputs["selection"].weight_QK.requires_grad_()
        self.backward(self.run(module, inputs))
        require(
            weight_QK.grad is not None and bool(weight_QK.grad.any()),
            "weight_QK has no influence on the result; use selection.masked_weight_QK",
        )
        require_finite(weight_QK.grad, "the gradient of weight_QK")
