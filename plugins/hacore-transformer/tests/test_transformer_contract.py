from hacore.testing import contract

TestContract = contract("aggregator", "transformer", width=8, heads=2, feed_forward=12)
TestBareContract = contract(
    "aggregator", "transformer", width=6, heads=1, layers=1, words=False, coordinates=False
)
TestDropoutContract = contract("aggregator", "transformer", width=8, layers=3, dropout=0.2)
