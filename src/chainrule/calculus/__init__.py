"""Derivatives: dual numbers, what they give, and the proof of a layer's backward pass."""
