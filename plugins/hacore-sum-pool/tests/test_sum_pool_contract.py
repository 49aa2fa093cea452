from hacore.testing import contract

TestContract = contract("aggregator", "sum-pool")
