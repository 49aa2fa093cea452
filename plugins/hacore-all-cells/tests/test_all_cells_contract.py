from hacore.testing import contract

TestContract = contract("selector", "all-cells")
