"""Training: losses, optimizers, and what brings them and a model together."""
