from hacore.testing import contract

TestContract = contract("selector", "adahan")
TestBudgetContract = contract("selector", "adahan", budget=0.25)
TestCappedContract = contract("selector", "adahan", presence="square", max_cells=4)
