"""Training: one readable loop, and its schedule, sampler and checkpoints."""
