"""The public path of `chainrule.core.initializers`."""

import sys

from chainrule.core import initializers as module
from chainrule.core.initializers import *  # noqa: F403 - for type checkers

sys.modules[__name__] = module
