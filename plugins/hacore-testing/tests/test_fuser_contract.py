"""The fuser contract passes a right fuser and names what is wrong with others."""

import attrs
import pytest
import torch
from torch import nn

from hacore.interfaces import Fuser


class Good(Fuser):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = 8
        self.image = nn.Linear(sizes.cell_channels, 8)
        self.question = nn.Linear(sizes.question_channels, 8)

    def fuse(self, image_INC, question_QC, image_index_Q):
        return (image_INC[image_index_Q] + question_QC.unsqueeze(1)).relu()

    def forward(self, cells, question, image_index_Q):
        image_INC = self.image(cells.features)
        return attrs.evolve(
            cells, features=self.fuse(image_INC, self.question(question.vector_QC), image_index_Q)
        )


class ImageOfRow(Good):
    """Takes image q for question q, which is right only when each image has one question."""

    def fuse(self, image_INC, question_QC, image_index_Q):
        return super().fuse(
            image_INC, question_QC, torch.arange(len(question_QC), device=question_QC.device) % 3
        )


class SortedImages(Good):
    """Repeats images by how often they are asked about, which is right only in the order of images."""

    def fuse(self, image_INC, question_QC, image_index_Q):
        return super().fuse(image_INC, question_QC, image_index_Q.sort().values)


class Blind(Good):
    def fuse(self, image_INC, question_QC, image_index_Q):
        return super().fuse(image_INC, question_QC * 0, image_index_Q)


class CellBias(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.bias = nn.Parameter(torch.randn(sizes.cells, 8))

    def fuse(self, image_INC, question_QC, image_index_Q):
        return super().fuse(image_INC, question_QC, image_index_Q) + self.bias


class OfTheBatch(Good):
    def fuse(self, image_INC, question_QC, image_index_Q):
        return super().fuse(image_INC - image_INC.mean(0), question_QC, image_index_Q)


class Transposed(Good):
    def fuse(self, image_INC, question_QC, image_index_Q):
        return super().fuse(image_INC, question_QC, image_index_Q).transpose(1, 2)


class DropsPositions(Good):
    def forward(self, cells, question, image_index_Q):
        fused = super().forward(cells, question, image_index_Q)
        return attrs.evolve(fused, positions=torch.zeros_like(cells.positions))


class Bare(Good):
    def forward(self, cells, question, image_index_Q):
        return super().forward(cells, question, image_index_Q).features


def test_a_right_fuser_passes(failures):
    assert failures("fuser", Good) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (ImageOfRow, "test_each_question_sees_its_image", "question q is about image image_index_Q[q]"),
        (ImageOfRow, "test_no_other_image_is_trained", "image 1 is not asked about but receives a gradient"),
        (SortedImages, "test_each_question_sees_its_image", "question 0 about image 2"),
        (SortedImages, "test_order_of_questions_does_not_matter", "do not follow the order of the questions"),
        (Blind, "test_gradients", "the input vector_QC receives no gradient"),
        (CellBias, "test_order_of_cells_does_not_matter", "use positions instead"),
        (OfTheBatch, "test_each_question_sees_its_image", "alone with its image than in a batch"),
        (
            Transposed,
            "test_result",
            "must be (Q, N, out_channels) = (5, 24, 8)",
        ),
        (DropsPositions, "test_result", "positions must come out as they went in"),
        (Bare, "test_result", "forward must return Cells, found Tensor"),
    ],
)
def test_wrong_fusers_fail(failures, cls, test, words):
    reports = failures("fuser", cls)
    assert test in reports, reports
    assert words in reports[test]
