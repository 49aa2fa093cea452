from hacore.testing import contract

TestContract = contract("aggregator", "rn")
TestMeanContract = contract("aggregator", "rn", width=8, layers=1, reduce="mean", pairs_per_block=5)
