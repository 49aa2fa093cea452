"""The contract suite for authors of plugins, which the package hacore-testing brings.

from hacore.testing import contract

TestContract = contract("selector", "l2-topk", k=5)
"""

try:
    from hacore_testing import SIZES, TOLERANCE, Contract, Sizes, contract
except ImportError as error:
    from hacore.registry.installing import missing_package

    raise missing_package("hacore.testing", "hacore_testing") from error

__all__ = ["SIZES", "TOLERANCE", "Contract", "Sizes", "contract"]
