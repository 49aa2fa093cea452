from hacore.testing import contract

TestContract = contract("aggregator", "non-local", heads=2, blocks=2, zero_init=False)
TestDefaultContract = contract("aggregator", "non-local")
