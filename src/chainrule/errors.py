"""The public path of `chainrule.core.errors`."""

import sys

from chainrule.core import errors as module
from chainrule.core.errors import *  # noqa: F403 - for type checkers

sys.modules[__name__] = module
