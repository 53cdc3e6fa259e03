"""The public path of `chainrule.calculus.derivatives`."""

import sys

from chainrule.calculus import derivatives as module
from chainrule.calculus.derivatives import *  # noqa: F403 - for type checkers

sys.modules[__name__] = module
