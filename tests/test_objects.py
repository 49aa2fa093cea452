"""Where objects lie: cells against plain loops, moved boxes against moved pixels."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.data import Batch
from hacore.objects import move_boxes, object_cells, relevant_cells
from hacore.train.augment import augment, move_images

PARTS = 240
"""Coordinates are drawn as parts of the image's sides, so that the plain loops are exact."""

ABSENT = (math.nan,) * 4
sides = st.integers(1, 8)
places = st.integers(-PARTS // 2, PARTS + PARTS // 2)


@st.composite
def boxes(draw):
    """(left, top, right, bottom) in parts: any box, a point, or one that is not there."""
    if draw(st.integers(0, 5)) == 0:
        return ABSENT
    left, top = draw(places), draw(places)
    if draw(st.integers(0, 3)) == 0:
        return (left, top, left, top)
    right, bottom = draw(st.integers(left, left + PARTS)), draw(st.integers(top, top + PARTS))
    return (left, top, right, bottom)


def as_tensor(images):
    """(I, O, 4) float32 of lists of boxes in parts."""
    return torch.tensor(images, dtype=torch.float32) / PARTS


def covers(low, high, part, count):
    """Whether an interval, in parts of the image, reaches into one of ``count`` equal parts of it."""
    start, stop = Fraction(part * PARTS, count), Fraction((part + 1) * PARTS, count)
    if low == high:
        return start <= low < stop
    return low < stop and high > start


def cells_of(box, grid):
    """The set of cells that a box covers, cell by cell."""
    rows, columns = grid
    if any(math.isnan(side) for side in box):
        return set()
    left, top, right, bottom = box
    return {
        row * columns + column
        for row in range(rows)
        for column in range(columns)
        if covers(left, right, column, columns) and covers(top, bottom, row, rows)
    }


def sets(covered):
    """The numbers of the cells in the last axis of a tensor of booleans."""
    return [set(line.nonzero().flatten().tolist()) for line in covered.flatten(0, -2)]


@settings(deadline=None, max_examples=150)
@given(st.tuples(sides, sides), st.data())
def test_a_box_covers_the_cells_that_it_reaches_into(grid, data):
    objects = data.draw(st.integers(1, 4))
    images = data.draw(
        st.lists(st.lists(boxes(), min_size=objects, max_size=objects), min_size=1, max_size=3)
    )
    cells_ION = object_cells(as_tensor(images), grid)
    assert cells_ION.dtype == torch.bool
    assert cells_ION.shape == (len(images), objects, grid[0] * grid[1])
    assert sets(cells_ION) == [cells_of(box, grid) for image in images for box in image]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 10, 13, 14, 16, 49, 64])
def test_edges_on_the_borders_of_cells_do_not_reach_into_the_next(count):
    """Whatever float32 makes of a third, its double and their like."""
    for first in range(count):
        for last in range(first + 1, count + 1):
            box = torch.tensor([[[first / count, 0.0, last / count, 1.0]]])
            assert sets(object_cells(box, (1, count))) == [set(range(first, last))]
            assert sets(object_cells(box[..., [1, 0, 3, 2]], (count, 1))) == [set(range(first, last))]


def test_a_box_without_extent_lies_in_one_cell():
    for x, y, cell in [(0, 0, 0), (0.5, 0.5, 10), (0.49, 0.24, 1), (0.999, 0.999, 15), (0.75, 0.0, 3)]:
        assert sets(object_cells(torch.tensor([[[x, y, x, y]]]), (4, 4))) == [{cell}]


def test_what_lies_outside_or_is_not_there_covers_nothing():
    nowhere = [
        (-0.4, 0.2, -0.1, 0.8),
        (1.1, 0.2, 1.5, 0.8),
        (0.2, -0.5, 0.8, -0.01),
        (0.2, 1.2, 0.8, 1.3),
        (-0.2, 0.5, -0.2, 0.5),
        ABSENT,
    ]
    assert sets(object_cells(torch.tensor([nowhere]), (3, 5))) == [set()] * len(nowhere)
    # What reaches in from outside covers the cells within.
    assert sets(object_cells(torch.tensor([[(-1.0, -1.0, 0.3, 2.0)]]), (2, 2))) == [{0, 2}]
    assert sets(object_cells(torch.tensor([[(-1.0, -1.0, 2.0, 2.0)]]), (2, 2))) == [{0, 1, 2, 3}]


@settings(deadline=None, max_examples=100)
@given(st.tuples(sides, sides), st.data())
def test_the_relevant_cells_of_a_question_are_those_of_its_image_s_objects(grid, data):
    objects = data.draw(st.integers(1, 4))
    images = data.draw(
        st.lists(st.lists(boxes(), min_size=objects, max_size=objects), min_size=1, max_size=3)
    )
    questions = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, len(images) - 1), st.lists(st.booleans(), min_size=objects, max_size=objects)
            ),
            min_size=1,
            max_size=6,
        )
    )
    image_index_Q = torch.tensor([image for image, _ in questions])
    relevant_QO = torch.tensor([relevant for _, relevant in questions])
    relevant_QN = relevant_cells(as_tensor(images), relevant_QO, image_index_Q, grid)
    assert relevant_QN.dtype == torch.bool
    expected = [
        set().union(
            *(cells_of(box, grid) for box, wanted in zip(images[image], relevant, strict=True) if wanted)
        )
        for image, relevant in questions
    ]
    assert sets(relevant_QN) == expected


HEIGHT, WIDTH = 44, 56
rectangles = st.tuples(st.integers(16, 28), st.integers(16, 22), st.integers(4, 12), st.integers(4, 8))
"""left, top, width and height in pixels: wherever such a rectangle is moved, it stays in the image."""


def drawn(rectangle):
    """A black image with the rectangle in white, and its box."""
    left, top, width, height = rectangle
    image = torch.zeros(3, HEIGHT, WIDTH)
    image[:, top : top + height, left : left + width] = 1
    return image, [left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + height) / HEIGHT]


def assert_box_around_pixels(image, box):
    """The white pixels of a moved image lie in the box and reach to each of its sides, within a pixel."""
    left, top, right, bottom = (
        float(side) * length for side, length in zip(box, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)
    )
    rows, columns = np.nonzero(image[0].numpy() > 1e-3)
    x, y = columns + 0.5, rows + 0.5
    assert x.min() > left - 1
    assert x.max() < right + 1
    assert y.min() > top - 1
    assert y.max() < bottom + 1
    # And no larger than they need: the outermost are those of a corner, which may be narrow.
    assert x.min() < left + 2
    assert x.max() > right - 2
    assert y.min() < top + 2
    assert y.max() > bottom - 2


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            rectangles, st.tuples(st.floats(-6, 6), st.floats(-6, 6)), st.floats(-0.5, 0.5, allow_nan=False)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_moved_boxes_enclose_the_moved_pixels(moves):
    pairs = [drawn(rectangle) for rectangle, _, _ in moves]
    images = torch.stack([image for image, _ in pairs])
    boxes_IO4 = torch.tensor([[box] for _, box in pairs])
    shift_I2 = torch.tensor([shift for _, shift, _ in moves])
    angle_I = torch.tensor([angle for _, _, angle in moves])
    moved_IO4 = move_boxes(boxes_IO4, shift_I2, angle_I, (HEIGHT, WIDTH))
    moved = move_images(images, shift_I2, angle_I)
    for image, box in zip(moved, moved_IO4[:, 0].tolist(), strict=True):
        assert_box_around_pixels(image, box)


def test_every_object_of_an_image_moves_with_it():
    """Several objects an image, one of them absent; each image has its own shift and angle."""
    boxes_IO4 = torch.tensor([[(0.1, 0.2, 0.3, 0.4), ABSENT], [(0.5, 0.5, 0.5, 0.5), (0.1, 0.2, 0.3, 0.4)]])
    shift_I2, angle_I = torch.tensor([[3.0, -2.0], [0.0, 5.0]]), torch.tensor([0.0, math.pi / 2])
    moved_IO4 = move_boxes(boxes_IO4, shift_I2, angle_I, (100, 100))
    expected = torch.tensor(
        [[(0.13, 0.18, 0.33, 0.38), ABSENT], [(0.5, 0.55, 0.5, 0.55), (0.6, 0.15, 0.8, 0.35)]]
    )
    torch.testing.assert_close(moved_IO4, expected, equal_nan=True, atol=1e-6, rtol=0)


def test_without_a_move_boxes_stay():
    boxes_IO4 = torch.rand(4, 3, 4).sort(-1).values
    still = move_boxes(boxes_IO4, torch.zeros(4, 2), torch.zeros(4), (HEIGHT, WIDTH))
    torch.testing.assert_close(still, boxes_IO4, atol=1e-6, rtol=0)


def test_augmenting_moves_images_and_boxes_alike():
    random = np.random.default_rng(0)
    lows, highs = (16, 16, 4, 4), (29, 23, 13, 9)
    pairs = [drawn(random.integers(lows, highs).tolist()) for _ in range(40)]
    nothing = torch.zeros(0, dtype=torch.int64)
    batch = Batch(
        images=torch.stack([image for image, _ in pairs]),
        words_QT=nothing.view(0, 1),
        lengths_Q=nothing,
        image_index_Q=nothing,
        answer_Q=nothing,
        type_Q=nothing,
        row_Q=np.arange(0),
        boxes_IO4=torch.tensor([[box] for _, box in pairs]),
    )
    torch.manual_seed(2)
    moved = augment(batch, 6, 0.5)
    assert (moved.boxes_IO4 - batch.boxes_IO4).abs().amax((1, 2)).median() > 0.02
    for image, box in zip(moved.images, moved.boxes_IO4[:, 0].tolist(), strict=True):
        assert_box_around_pixels(image, box)
