"""The contract suite for authors of plugins, which the package hacore-testing brings.

from hacore.testing import contract

TestContract = contract("selector", "l2-topk", k=5)
"""

try:
    from hacore_testing import SIZES, TOLERANCE, Contract, Sizes, contract
except ImportError as error:
    from hacore.errors import install_from
    from hacore.registry.installing import install_words

    way_out = install_from(install_words("hacore-testing"))
    raise ImportError(f"hacore.testing needs the package hacore-testing ({error}); {way_out}") from None

__all__ = ["SIZES", "TOLERANCE", "Contract", "Sizes", "contract"]
