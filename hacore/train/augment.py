"""Small random shifts and rotations of training images, in one batch on the images' device."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hacore.data import Batch
from hacore.objects import move_boxes


def move_images(images: Tensor, shift_I2: Tensor, angle_I: Tensor) -> Tensor:
    """(I, 3, H, W) uint8 or float in [0, 1] -> the same size, float32 in [0, 1], moved.

    shift_I2: pixels to the right and down. angle_I: radians, clockwise on the screen, about the image's
    middle. Between pixels the value is bilinear; what comes in at a border is the border repeated.
    Whole shifts without rotation are those of padding an image and cropping it.
    """
    height, width = images.shape[-2:]
    pixels = images.float() if images.is_floating_point() else images.float() / 255
    cos_I, sin_I = angle_I.cos(), angle_I.sin()
    # From where in the old image a pixel of the new one comes: the rotation undone, in coordinates
    # that reach from -1 to 1 over the width and over the height.
    x_I, y_I = shift_I2.unbind(1)
    back_x_I, back_y_I = -(cos_I * x_I + sin_I * y_I), -(cos_I * y_I - sin_I * x_I)
    theta_I23 = torch.stack(
        [
            torch.stack([cos_I, sin_I * (height / width), back_x_I * (2 / width)], 1),
            torch.stack([-sin_I * (width / height), cos_I, back_y_I * (2 / height)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta_I23, list(images.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def augment(batch: Batch, shift: int, rotation: float) -> Batch:
    """Move each image by whole pixels up to ``shift`` and turn it by up to ``rotation`` radians, both ways.

    The boxes of objects move along. Drawn uniformly from torch's global random state of the device, so that
    a resumed training draws the same. Without shift and rotation the batch comes back as it is.

    Source: Santoro et al. 2017 (arXiv 1706.01427) pad CLEVR's images of 128 pixels to 136, crop them
    back to 128 at random and rotate by up to 0.05 radians: shift 4, rotation 0.05.
    """
    if not shift and not rotation:
        return batch
    images, boxes_IO4 = batch.images, batch.boxes_IO4
    count = len(images)
    shift_I2 = torch.randint(-shift, shift + 1, (count, 2), device=images.device).float()
    angle_I = (2 * torch.rand(count, device=images.device) - 1) * rotation
    if boxes_IO4 is not None:
        height, width = images.shape[-2:]
        boxes_IO4 = move_boxes(boxes_IO4, shift_I2, angle_I, (height, width))
    return attrs.evolve(batch, images=move_images(images, shift_I2, angle_I), boxes_IO4=boxes_IO4)
