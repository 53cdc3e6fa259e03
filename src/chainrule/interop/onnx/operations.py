"""stub"""

from __future__ import annotations
from typing import Any

OPERATIONS: dict[Any, Any] = {}
