"""The contract suite for authors of plugins, which the package hacore-testing brings.

from hacore.testing import contract

TestContract = contract("selector", "l2-topk", k=5)
"""

try:
    from hacore_testing import SIZES, TOLERANCE, Contract, Sizes, contract
except ImportError as error:
    raise ImportError(
        f"hacore.testing needs the package hacore-testing ({error}); from a checkout: "
        "pip install -e plugins/hacore-testing"
    ) from None

__all__ = ["SIZES", "TOLERANCE", "Contract", "Sizes", "contract"]
