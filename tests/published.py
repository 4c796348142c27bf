"""Where real benchmark files may lie: tests that want them skip where they do not. Knows nothing of their formats."""

from __future__ import annotations

import os
from pathlib import Path

# One folder for each benchmark; what must be in it stands in the tests.
PUBLISHED = Path(os.environ.get("THICKETS_DATA") or Path(__file__).parents[2] / "shared" / "data").resolve()
