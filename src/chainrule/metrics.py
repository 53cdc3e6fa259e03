"""The public path of `chainrule.training.metrics`."""

import sys

from chainrule.training import metrics as module
from chainrule.training.metrics import *  # noqa: F403 - for type checkers

sys.modules[__name__] = module
