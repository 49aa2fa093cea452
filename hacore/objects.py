"""Where the objects of images lie, and which of them a question is about, for oracles and statistics.

Boxes are (left, top, right, bottom) as shares of the image's width and height, from its top left corner.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_EDGE = 1e-4  # of a cell


@attrs.frozen(kw_only=True, eq=False)
class Objects:
    """The objects of a split's images.

    boxes_IO4: (I, O, 4) float32, not a number where an image has fewer than O objects. relevant_QO: (Q, O)
    bool, the objects of its image that a question is about, in the order of ``Dataset.questions``.
    """

    boxes_IO4: npt.NDArray[np.float32]
    relevant_QO: npt.NDArray[np.bool_]


def object_cells(boxes_IO4: Tensor, grid: tuple[int, int]) -> Tensor:
    """(I, O, N) bool: the cells of a grid (rows, columns) that each box covers, wholly or in part.

    A cell is its rectangle of the image; a box without extent lies in one cell. What is outside of the
    image covers none.
    """
    rows, columns = grid
    left_IO, top_IO, right_IO, bottom_IO = boxes_IO4.unbind(-1)
    across_IOC = _covered(left_IO, right_IO, columns)
    down_IOR = _covered(top_IO, bottom_IO, rows)
    return (down_IOR.unsqueeze(-1) & across_IOC.unsqueeze(-2)).flatten(-2)


def _covered(low_IO: Tensor, high_IO: Tensor, count: int) -> Tensor:
    """(I, O, count) bool: which of ``count`` equal parts of [0, 1] an interval covers."""
    # An edge that lies on the border of two parts belongs to one of them, whatever rounding says.
    first_IO1 = (low_IO * count + _EDGE).floor().unsqueeze(-1)
    last_IO1 = torch.maximum((high_IO * count - _EDGE).ceil().unsqueeze(-1) - 1, first_IO1)
    part = torch.arange(count, device=low_IO.device)
    return (part >= first_IO1) & (part <= last_IO1)


def relevant_cells(
    boxes_IO4: Tensor, relevant_QO: Tensor, image_index_Q: Tensor, grid: tuple[int, int]
) -> Tensor:
    """(Q, N) bool: the cells on which the objects lie that each question is about.

    Question q is about image ``image_index_Q[q]``, as in a ``Batch``.
    """
    cells_ION = object_cells(boxes_IO4, grid)
    return (cells_ION.index_select(0, image_index_Q) & relevant_QO.unsqueeze(-1)).any(1)


def move_boxes(boxes_IO4: Tensor, shift_I2: Tensor, angle_I: Tensor, size: tuple[int, int]) -> Tensor:
    """The boxes around what the boxes hold after the images were moved, as ``move_images`` does.

    shift_I2: pixels to the right and down. angle_I: radians, clockwise on the screen, about the image's
    middle. size: (height, width) in pixels.
    """
    height, width = size
    scale = boxes_IO4.new_tensor([width, height])
    low_IO2, high_IO2 = boxes_IO4[..., :2] * scale, boxes_IO4[..., 2:] * scale
    middle_IO2, half_IO2 = (low_IO2 + high_IO2) / 2 - scale / 2, (high_IO2 - low_IO2) / 2
    cos_I, sin_I = angle_I.cos(), angle_I.sin()
    turn_I22 = torch.stack([torch.stack([cos_I, -sin_I], 1), torch.stack([sin_I, cos_I], 1)], 1)
    middle_IO2 = torch.einsum("ixy,ioy->iox", turn_I22, middle_IO2) + shift_I2.unsqueeze(1) + scale / 2
    half_IO2 = torch.einsum("ixy,ioy->iox", turn_I22.abs(), half_IO2)
    return torch.cat([(middle_IO2 - half_IO2) / scale, (middle_IO2 + half_IO2) / scale], -1)
