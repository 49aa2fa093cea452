"""Augmented images are those of a plain formula, and training draws them from the saved random state."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.data import Batch
from hacore.train.augment import augment, move_images


def a_batch(images, boxes_IO4=None):
    """Images nobody asks about."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return Batch(
        images=images,
        words_QT=nothing.view(0, 1),
        lengths_Q=nothing,
        image_index_Q=nothing,
        answer_Q=nothing,
        type_Q=nothing,
        row_Q=np.arange(0),
        boxes_IO4=boxes_IO4,
    )


def plainly(image, shift, angle):
    """One (3, H, W) image, pixel by pixel."""
    height, width = image.shape[1:]
    moved = np.zeros((3, height, width))
    for row in range(height):
        for column in range(width):
            # Relative to the middle, undo the shift, then turn back.
            x = column - (width - 1) / 2 - shift[0]
            y = row - (height - 1) / 2 - shift[1]
            x, y = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
            x = min(max(x + (width - 1) / 2, 0), width - 1)
            y = min(max(y + (height - 1) / 2, 0), height - 1)
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            across, down = x - left, y - top
            moved[:, row, column] = (1 - down) * (
                (1 - across) * image[:, top, left] + across * image[:, top, left + 1]
            ) + down * ((1 - across) * image[:, top + 1, left] + across * image[:, top + 1, left + 1])
    return moved


@settings(deadline=None, max_examples=25)
@given(
    st.integers(2, 9),
    st.integers(2, 9),
    st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
    st.floats(-0.5, 0.5),
    st.integers(0, 2**32),
)
def test_every_pixel_is_that_of_the_plain_formula(height, width, shift, angle, seed):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (2, 3, height, width), np.uint8)
    shifts = torch.tensor([shift, (1, -1)], dtype=torch.float32)
    angles = torch.tensor([angle, 0.1])
    moved = move_images(torch.from_numpy(images), shifts, angles)
    assert moved.dtype == torch.float32
    for i in range(2):
        expected = plainly(images[i] / 255, shifts[i].tolist(), float(angles[i]))
        np.testing.assert_allclose(moved[i], expected, atol=2e-5)


def test_a_shift_is_a_crop_of_the_padded_image():
    images = torch.randint(0, 256, (40, 3, 8, 6), dtype=torch.uint8)
    torch.manual_seed(3)
    moved = augment(a_batch(images), 2, 0.0).images
    padded = torch.nn.functional.pad(images.float() / 255, (2, 2, 2, 2), mode="replicate")
    crops = torch.stack([padded[:, :, y : y + 8, x : x + 6] for y in range(5) for x in range(5)])
    distance = (crops - moved).abs().amax((2, 3, 4))
    assert distance.amin(0).max() < 1e-5
    assert len(set(distance.argmin(0).tolist())) > 10, "shifts differ between images"


def test_nothing_asked_nothing_done():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    batch = a_batch(images)
    assert augment(batch, 0, 0.0) is batch


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_the_random_state_decides(kind):
    images = torch.randint(0, 256, (5, 3, 9, 9)).to(kind)
    if kind.is_floating_point:
        images /= 255
    state = torch.get_rng_state()
    first = augment(a_batch(images), 1, 0.05).images
    assert not torch.equal(first, augment(a_batch(images), 1, 0.05).images)
    torch.set_rng_state(state)
    # Boxes come along without drawing anything.
    again = augment(a_batch(images, torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]).expand(5, 1, 4)), 1, 0.05)
    assert torch.equal(first, again.images)
    assert again.boxes_IO4.shape == (5, 1, 4)
    assert first.min() >= 0
    assert first.max() <= 1
