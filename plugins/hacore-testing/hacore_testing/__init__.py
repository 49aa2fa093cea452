"""The contract suite: three lines in a plugin's tests hold a component to what its kind promises.

    from hacore.testing import contract

    TestContract = contract("selector", "l2-topk", k=5)

Options are those of the spec's table. The result is a class of pytest tests. A test that does not apply to a
component is left out by overriding it::

    class TestContract(contract("selector", "quadrants")):
        test_cell_order_does_not_matter = None  # cells are told apart by their row and column

The component is found as a spec finds it, so its package must be installed.
"""

from __future__ import annotations

from typing import Any

from hacore.errors import did_you_mean
from hacore.interfaces import Sizes
from hacore.plugin import SECTIONS
from hacore_testing._aggregator import AggregatorContract
from hacore_testing._base import SIZES, TOLERANCE, Contract
from hacore_testing._dataset import DatasetContract
from hacore_testing._fuser import FuserContract
from hacore_testing._image_encoder import ImageEncoderContract
from hacore_testing._question_encoder import QuestionEncoderContract
from hacore_testing._selector import SelectorContract

__all__ = ["SIZES", "TOLERANCE", "Contract", "Sizes", "contract"]

_CONTRACTS: dict[str, type[Contract]] = {
    "image_encoder": ImageEncoderContract,
    "question_encoder": QuestionEncoderContract,
    "fuser": FuserContract,
    "selector": SelectorContract,
    "aggregator": AggregatorContract,
    "dataset": DatasetContract,
}


def contract(
    kind: str, name: str, /, *, sizes: Sizes = SIZES, tolerance: float = TOLERANCE, **options: Any
) -> type[Contract]:
    """A class of tests for the component of that kind and name, built with ``options``.

    sizes: what the component's inputs look like; those that come later in the chain than the
    component are set to zero. tolerance: how far results in float64 that should be equal may be
    apart, as a share of the largest one. Raises ValueError for an unknown kind.
    """
    if kind not in _CONTRACTS:
        kinds = [*SECTIONS.values()]
        raise ValueError(f"unknown kind '{kind}'{did_you_mean(kind, kinds)}; allowed: {', '.join(kinds)}")
    members = {"kind": kind, "name": name, "options": options, "sizes": sizes, "tolerance": tolerance}
    title = "".join(word.title() for word in name.split("-")) + "Contract"
    return type(title, (_CONTRACTS[kind],), {**members, "__doc__": f"{kind} '{name}' keeps its contract."})
