"""Many engines behind one door. Knows what to evaluate, not why."""

from thickets.pool.base import Done, Pool, Work
from thickets.pool.local import LocalPool

__all__ = ["Done", "LocalPool", "Pool", "Work"]
