from hacore.testing import contract

TestSparsemaxContract = contract("selector", "sparsemax")
TestEntmax15Contract = contract("selector", "entmax15", scale=0.5)
TestCappedContract = contract("selector", "entmax15", max_cells=4)
