"""Symbolic arrays: the same two methods of a layer, with formulas in place of numbers."""
