from hacore.testing import contract

TestContract = contract("aggregator", "mac", width=8, steps=3)
TestWholeContract = contract(
    "aggregator", "mac", width=8, steps=3, elu=True, self_attention=True, gate=True, coordinates=False
)
TestDropoutContract = contract("aggregator", "mac", width=8, memory_dropout=0.2, read_dropout=0.2)
