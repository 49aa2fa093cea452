from hacore.testing import contract

TestScoredContract = contract("selector", "scored-topk", k=5)
TestScoredFractionContract = contract("selector", "scored-topk", fraction=0.3)
TestGumbelContract = contract("selector", "gumbel-topk", k=5)
TestGumbelHotContract = contract("selector", "gumbel-topk", k=1, temperature=2.0, final_temperature=2.0)
TestPerturbedContract = contract("selector", "perturbed-topk", k=5)
TestPerturbedFewSamplesContract = contract("selector", "perturbed-topk", fraction=1.0, sigma=2.0, samples=2)
