"""Helpers for authors of selectors: the presence of cells, their order, and gathering the kept ones.

A whole hard selector with them::

    class StrongestHalf(Selector[Config]):
        def forward(self, cells, question):
            presence_QN = l2_presence(cells)
            index_QK = strongest_first(presence_QN)[:, : self.sizes.cells // 2]
            return keep_cells(cells, index_QK, presence_QN)
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import torch
from torch import Tensor

from hacore.errors import NotFiniteError
from hacore.interfaces import Cells, Selection, Sizes
from hacore.interfaces import gather_cells as gather_cells
from hacore.plugin import TopK


def cells_to_keep(config: TopK, sizes: Sizes) -> int:
    """How many cells ``k`` or ``fraction`` are of the grid. Raises ValueError for more than it has."""
    if config.fraction is not None:
        # In decimal, because 0.145 * 100 is 14.499... in binary and would round to 14.
        exact = Decimal(repr(config.fraction)) * sizes.cells
        return max(1, int(exact.quantize(Decimal(1), ROUND_HALF_UP)))
    k = 16 if config.k is None else config.k
    if k > sizes.cells:
        rows, columns = sizes.grid
        raise ValueError(
            f"k = {k} is more than the {sizes.cells} cells of a {rows}x{columns} grid; "
            "lower k or use fraction"
        )
    return k


def check_max_cells(max_cells: int | None, sizes: Sizes) -> None:
    """Raises ValueError when the limit is more than the grid has."""
    if max_cells is not None and max_cells > sizes.cells:
        rows, columns = sizes.grid
        raise ValueError(
            f"max_cells = {max_cells} is more than the {sizes.cells} cells of a {rows}x{columns} grid; "
            "lower it or leave it out"
        )


def l2_presence(cells: Cells | Tensor) -> Tensor:
    """(Q, N): the L2 norm of each cell's vector, how strongly the cell presents itself.

    cells: of questions, or their vectors (Q, N, C). Computed in float32, for float64 features in float64;
    carries no gradient, because hard attention does not differentiate the choice. Raises as
    ``check_finite`` does.

    Source: Malinowski et al. 2018, arXiv 1808.00300.
    """
    blocks = [cells.detach()] if isinstance(cells, Tensor) else cells.blocks()
    norm, wider = torch.linalg.vector_norm, torch.promote_types
    presence_QN = torch.cat(
        [norm(x_qNC, dim=-1, dtype=wider(x_qNC.dtype, torch.float32)) for x_qNC in blocks]
    )
    check_finite(presence_QN)
    return presence_QN


def check_finite(presence_QN: Tensor) -> None:
    """Stop when a presence (Q, N) is infinite or not a number: such cells cannot be ordered.

    Raises NotFiniteError, a ValueError, that names the question. Does nothing on CUDA, where reading the
    answer would make the host wait for the device; there the loss is not finite either, and the
    trainer and the evaluation, which look at it every few steps, stop. Nor does an exported program look.
    """
    if presence_QN.is_cuda or presence_QN.is_meta or torch.compiler.is_exporting():
        return
    finite_QN = torch.isfinite(presence_QN)
    if not finite_QN.all():
        bad_Q = (~finite_QN).sum(1)
        question = int(bad_Q.nonzero()[0])
        others = int((bad_Q > 0).sum()) - 1
        raise NotFiniteError(
            f"question {question} of the batch{f' (and {others} more)' if others else ''} has "
            f"{int(bad_Q[question])} of {presence_QN.shape[1]} cells whose presence is not finite; "
            "look at the images and at the weights"
        )


def strongest_first(presence_QN: Tensor) -> Tensor:
    """(Q, N) int64: the cells in order of descending presence; of equal ones the lower index first.

    The order of equal presences is the same on every device, which ``torch.topk`` does not promise.
    """
    return presence_QN.sort(dim=1, descending=True, stable=True).indices


def keep_cells(
    cells: Cells, index_QK: Tensor, presence_QN: Tensor, weight_QK: Tensor | None = None
) -> Selection:
    """The same number of cells of each question: those named by index (Q, K), gathered."""
    return Selection(
        features_QKC=cells.gather(index_QK),
        index_QK=index_QK,
        presence_QN=presence_QN,
        positions_N2=cells.positions,
        grid=cells.grid,
        weight_QK=weight_QK,
    )


def keep_leading(
    cells: Cells, presence_QN: Tensor, order_QN: Tensor, counts_Q: Tensor, max_cells: int | None
) -> Selection:
    """Of each question the first ``counts_Q`` cells of its order, at least one and at most ``max_cells``.

    K is ``max_cells``, or without it the largest count, for which the host waits. Vectors of entries that
    are not valid are zero and get no gradient.
    """
    counts_Q = counts_Q.clamp(min=1)
    width = _widest(counts_Q, order_QN.shape[1]) if max_cells is None else max_cells
    kept = keep_cells(cells, order_QN[:, :width], presence_QN)
    kept.valid_QK = torch.arange(width, device=counts_Q.device) < counts_Q.unsqueeze(1)
    # where, not a product: an invalid cell then gets a gradient of zero whatever it holds.
    kept.features_QKC = torch.where(kept.valid_QK.unsqueeze(2), kept.features_QKC, 0)
    return kept


def _widest(counts_Q: Tensor, cells: int) -> int:
    """The largest count; in an exported graph a size that depends on the data."""
    if not torch.compiler.is_exporting():
        return int(counts_Q.max())
    # At least two, as whatever comes after would else have to be traced for one apart.
    least = min(2, cells)
    width: int = counts_Q.max().clamp(min=least).item()  # type: ignore[assignment]
    torch._check(width >= least)
    torch._check(width <= cells)
    return width


def no_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Within it products of matrices on the device of ``x`` keep their precision."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
