from hacore.testing import contract

TestContract = contract("dataset", "easy-vqa", validation=50)
