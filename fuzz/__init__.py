"""Randomly changed model files: each must be rejected with a named error or be intact."""
