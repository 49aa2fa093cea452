from hacore.testing import contract


class TestContract(contract("fuser", "film", width=8)):
    test_order_of_cells_does_not_matter = None  # a convolution knows cells by their row and column


class TestLayerNormContract(contract("fuser", "film", width=8, blocks=3, norm="layer", normalise=False)):
    test_order_of_cells_does_not_matter = None  # as above


TestOneBlockContract = contract("fuser", "film", width=8, blocks=1, kernel=1)
TestBareContract = contract("fuser", "film", width=8, kernel=1, coordinates=False, norm="off")
