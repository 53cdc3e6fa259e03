"""Optimizers."""

from chainrule.optimizers.methods import *  # noqa: F403
