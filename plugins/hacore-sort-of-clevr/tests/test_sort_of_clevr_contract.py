from hacore.testing import contract

TestContract = contract("dataset", "sort-of-clevr", images=60, held_out=10, validation=10)
