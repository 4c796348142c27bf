"""A real file system that takes no more: one sentence, nothing lost, and the same command goes on."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from thickets.config import merge, parse
from thickets.randopt import execute
from thickets.store import Run


def no_room() -> None:
    """No file may grow beyond 128 KiB: writes then fail as they do on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, resource.RLIM_INFINITY))


def test_a_disk_that_fills_up(settings: dict[str, Any], tmp_path: Path) -> None:
    config = parse(merge(settings, {"search": {"population": 60}, "keep_texts": "all", "progress": "plain"}))
    (tmp_path / "big.toml").write_text(config.to_toml())
    command = [sys.executable, "-m", "thickets", "run", str(tmp_path / "big.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=no_room)
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("thickets: cannot use")
    assert "free some space and repeat the command" in last
    assert "Traceback" not in ended.stderr
    with Run.read(config.directory) as run:
        kept = run.trials("selection")
    assert 1 < len(kept) < 61
    assert all(len(t.outcomes) == 16 for t in kept)
    assert execute(config).finished
    with Run.read(config.directory) as run:
        assert run.trials("selection", [t.candidate for t in kept]) == kept
