from hacore.testing import contract

TestContract = contract("selector", "soft-attention", hops=2, width=8)
