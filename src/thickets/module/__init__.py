"""RandOpt around any `torch.nn.Module`: thousands of candidates at once, and members that answer together.

Knows nothing of language models, tasks or run directories.
"""

from thickets.module.ensemble import ModuleEnsemble
from thickets.module.found import Found
from thickets.module.search import search

__all__ = ["Found", "ModuleEnsemble", "search"]
