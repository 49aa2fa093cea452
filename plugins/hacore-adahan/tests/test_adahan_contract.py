from hacore.testing import contract

TestContract = contract("selector", "adahan")
TestCappedContract = contract("selector", "adahan", presence="square", max_cells=4)
