"""Training: one readable loop, with its schedule, sampler, checkpoints and metrics beside it."""
