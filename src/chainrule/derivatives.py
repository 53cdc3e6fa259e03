"""The public path of `chainrule.calculus.derivatives`."""

import sys

from chainrule.calculus import derivatives as module
from chainrule.calculus.derivatives import *  # noqa: F403 - for type checkers, which cannot see the next line

sys.modules[__name__] = module
