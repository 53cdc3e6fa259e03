"""The layers: each family in a file of its own, each layer with its mathematics beside it."""
