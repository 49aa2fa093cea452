"""What a fuser promises."""

from __future__ import annotations

from typing import Any

import attrs
import torch

from hacore.interfaces import Cells, grid_positions
from hacore_testing._checks import require, require_close, require_tensor
from hacore_testing._module import F64, Inputs, noise
from hacore_testing._question import QuestionReaderContract, make_question, pick

IMAGES = 3
# Not sorted, repeated, and nobody asks about image 1.
IMAGE_INDEX = (2, 0, 2, 0, 2)


class FuserContract(QuestionReaderContract):
    """Cells of images, ``Question``, image_index -> Cells of questions."""

    moving_inputs = ("features", "vector_QC")

    @classmethod
    def inputs(cls, seed: int = 0) -> Inputs:
        sizes = cls.sizes
        return {
            "cells": Cells(
                features=noise(IMAGES, sizes.cells, sizes.cell_channels, seed=seed),
                positions=grid_positions(sizes.grid).to(F64),
                grid=sizes.grid,
            ),
            "question": make_question(sizes, len(IMAGE_INDEX), seed, oracle=cls.component_class().oracle),
            "image_index_Q": torch.tensor(IMAGE_INDEX),
        }

    @classmethod
    def check_result(cls, module: Any, inputs: Inputs, result: Any) -> None:
        require(isinstance(result, Cells), f"forward must return Cells, found {type(result).__name__}")
        cells: Cells = inputs["cells"]
        shape = (len(inputs["question"].vector_QC), len(cells.positions), module.out_channels)
        require_tensor(result.features, "features", shape, "(Q, N, out_channels)")
        require(result.grid == cells.grid, f"the grid comes out as {result.grid}, it went in as {cells.grid}")
        require(
            result.positions.shape == cells.positions.shape
            and (result.positions.is_meta or torch.equal(result.positions, cells.positions)),
            "positions must come out as they went in",
        )

    def test_each_question_sees_its_image(self) -> None:
        """A question alone with its image gives what it gives in a batch, in whatever order they come."""
        module, inputs = self.make(), self.inputs()
        cells, asked = inputs["cells"], inputs["question"]
        together = self.run(module, inputs).features
        for question, image in enumerate(IMAGE_INDEX):
            alone = module(
                attrs.evolve(cells, features=cells.features[image : image + 1]),
                pick(asked, slice(question, question + 1)),
                torch.zeros(1, dtype=torch.int64),
            ).features
            require_close(
                alone,
                together[question : question + 1],
                self.tolerance,
                f"question {question} about image {image} gives other cells alone with its image than in a "
                "batch; question q is about image image_index_Q[q]",
            )

    def test_order_of_questions_does_not_matter(self) -> None:
        """Questions in another order give the same cells in that order."""
        module, inputs = self.make(), self.inputs()
        order = torch.tensor([4, 2, 0, 1, 3])
        moved = module(inputs["cells"], pick(inputs["question"], order), inputs["image_index_Q"][order])
        require_close(
            moved.features,
            self.run(module, inputs).features[order],
            self.tolerance,
            "the fused cells do not follow the order of the questions",
        )

    def test_order_of_cells_does_not_matter(self) -> None:
        """Cells in another order, their positions with them, give the same vectors in that order."""
        module, inputs = self.make(), self.inputs()
        cells, question = inputs["cells"], inputs["question"]
        order = torch.randperm(len(cells.positions), generator=torch.Generator().manual_seed(5))
        if question.relevant_QN is not None:
            question = attrs.evolve(question, relevant_QN=question.relevant_QN[:, order])
        moved = attrs.evolve(cells, features=cells.features[:, order], positions=cells.positions[order])
        require_close(
            module(moved, question, inputs["image_index_Q"]).features,
            self.run(module, inputs).features[:, order],
            self.tolerance,
            "a cell's fused vector depends on where the cell stands in the list; use positions instead",
        )

    def test_no_other_image_is_trained(self) -> None:
        """The gradient reaches the images that are asked about, and no other."""
        module, inputs = self.make(), self.inputs()
        features = inputs["cells"].features.requires_grad_()
        self.backward(self.run(module, inputs).features)
        require(features.grad is not None, "no gradient reaches the images")
        assert features.grad is not None
        for image in range(IMAGES):
            reached = bool(features.grad[image].any())
            asked = image in IMAGE_INDEX
            require(
                reached == asked,
                f"image {image} is {'' if asked else 'not '}asked about but receives "
                f"{'a' if reached else 'no'} gradient; question q is about image image_index_Q[q]",
            )
