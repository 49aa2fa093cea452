from hacore.testing import contract

TestContract = contract("selector", "l2-topk", k=5)
TestFractionContract = contract("selector", "l2-topk", fraction=0.3)
