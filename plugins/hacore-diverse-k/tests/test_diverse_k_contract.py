from hacore.testing import contract

TestContract = contract("selector", "diverse-k", k=5)
TestFractionContract = contract("selector", "diverse-k", fraction=0.3)
TestQuestionContract = contract("selector", "diverse-k", k=5, question=True)
