from hacore.testing import contract

TestRandom = contract("selector", "random-k", k=5)
TestRandomFraction = contract("selector", "random-k", fraction=0.3, seed=7)
TestGrid = contract("selector", "grid-k", k=5)
TestCenter = contract("selector", "center-k", k=5)
TestLowestNorm = contract("selector", "lowest-norm-k", k=5)
TestOracle = contract("selector", "oracle-k", k=5)
