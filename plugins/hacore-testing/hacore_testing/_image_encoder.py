"""What an image encoder promises."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from hacore.interfaces import Cells, Sizes
from hacore_testing._checks import require, require_close, require_tensor
from hacore_testing._module import F64, Inputs, ModuleContract

IMAGES = 3


class ImageEncoderContract(ModuleContract):
    """Images (I, 3, H, W) -> Cells of the images."""

    @classmethod
    def own_sizes(cls) -> Sizes:
        return attrs.evolve(cls.sizes, grid=(0, 0), cell_channels=0, question_channels=0, word_channels=0)

    @classmethod
    def inputs(cls, seed: int = 0) -> Inputs:
        generator = torch.Generator().manual_seed(seed)
        shape = (IMAGES, *cls.sizes.image)
        return {"images": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)}

    @classmethod
    def check_result(cls, module: Any, inputs: Inputs, result: Any) -> None:
        require(isinstance(result, Cells), f"forward must return Cells, found {type(result).__name__}")
        grid: Any = getattr(module, "grid", None)
        require(
            isinstance(grid, tuple) and len(grid) == 2 and all(type(n) is int and n > 0 for n in grid),
            f"__init__ must set grid to (rows, columns), found {grid!r}",
        )
        require(result.grid == grid, f"forward returns a grid of {result.grid}, __init__ set {grid}")
        cells = grid[0] * grid[1]
        shape = (len(inputs["images"]), cells, module.out_channels)
        require_tensor(result.features, "features", shape, "(I, N, out_channels)")
        require_tensor(result.positions, "positions", (cells, 2), "(N, 2)")
        require(
            float(result.positions.abs().max()) <= 1 + 1e-6, "positions leave [-1, 1]; see grid_positions"
        )

    def test_positions_run_row_by_row(self) -> None:
        """Positions go from left to right, then from top to bottom."""
        module = self.make()
        rows, columns = module.grid
        x, y = self.run(module, self.inputs()).positions.view(rows, columns, 2).unbind(-1)
        across, down = (x.diff(dim=1) > 0).all(), (y.diff(dim=0) > 0).all()
        straight = torch.equal(x, x[:1].expand_as(x)) and torch.equal(y, y[:, :1].expand_as(y))
        require(
            across and down and straight,
            "positions must hold (x, y) row by row from the top left, as "
            "hacore.interfaces.grid_positions does",
        )

    def test_cells_lie_where_the_image_changes(self) -> None:
        """Changes at the left and right, top and bottom of the image move cells on those sides."""
        module, images = self.make(), self.inputs()["images"]
        with torch.no_grad():
            before = module(images)
            _, height, width = self.sizes.image
            for axis, side, length in ((0, "x", width), (1, "y", height)):
                middles = []
                for start in (0, length - length // 4):
                    changed = images.clone()
                    strip = changed.narrow(3 - axis, start, length // 4)
                    strip.copy_(255 - strip)
                    change_N = (module(changed).features - before.features).norm(dim=-1).mean(0)
                    require(
                        change_N.sum() > 0, f"the image from {side} = {start} on has no influence on any cell"
                    )
                    middles.append((change_N * before.positions[:, axis]).sum() / change_N.sum())
                count = module.grid[1 - axis]
                # Small grids come from wide receptive fields, where a change is felt everywhere.
                least = 0.5 if count >= 6 else 0.0
                require(
                    count == 1 or float(middles[1] - middles[0]) > least,
                    f"changes along {side} of the image do not move the cells along {side}; "
                    "cells must be in the order of the grid, row by row",
                )

    def test_bytes_and_fractions_are_the_same_image(self) -> None:
        """uint8 in [0, 255] and float in [0, 1] give the same features."""
        module, images = self.make(), self.inputs()["images"]
        require_close(
            module(images.to(F64) / 255).features,
            module(images).features,
            self.tolerance,
            "an image as uint8 and as float in [0, 1] give different features; call self.normalise(images)",
        )

    def test_statistics_are_buffers(self) -> None:
        """``image_mean`` and ``image_std`` stay buffers, so that they move and are saved."""
        buffers = dict(self.make().named_buffers())
        for name in ("image_mean", "image_std"):
            require(isinstance(buffers.get(name), Tensor), f"{name} must stay a buffer of the encoder")

    def test_images_do_not_meet(self) -> None:
        """In evaluation mode an image encoded alone gives what it gives in a batch."""
        module, images = self.make(), self.inputs()["images"]
        together = module(images).features
        for image in range(len(images)):
            require_close(
                module(images[image : image + 1]).features,
                together[image : image + 1],
                self.tolerance,
                "an image alone and in a batch give different features",
            )

    def test_memory_layout_does_not_matter(self) -> None:
        """Images laid out in memory with channels last give the same features."""
        module, images = self.make(), self.inputs()["images"]
        require_close(
            module(images.contiguous(memory_format=torch.channels_last)).features,
            module(images).features,
            self.tolerance,
            "images with channels last in memory give different features",
        )
