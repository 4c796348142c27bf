"""`thickets landscape`: a plane through the base and two members of a run. Decides nothing; prints where the map is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from thickets.cli.baseline import read_run
from thickets.errors import ConfigError


def landscape(
    run: Path | None,
    flags: dict[str, Any],
    *,
    members: Annotated[str, Parameter(help="Ranks of the two members.")] = "1,2",
    grid: Annotated[int, Parameter(help="Points along each side.")] = 9,
    span: Annotated[float, Parameter(help="How far out, in steps of the members; they lie at 1.")] = 2.0,
    split: Annotated[str, Parameter(help="Whose questions: selection or validation.")] = "selection",
    questions: Annotated[int | None, Parameter(help="Ask only this many of them.")] = None,
    model: Annotated[str | None, Parameter(help="The base model, where it is not where it was.")] = None,
) -> None:
    """Score a plane through the base and two members of a finished run, and draw it. Goes on after a kill."""
    from thickets.cli.display import make_progress, quiet_libraries, stopped
    from thickets.planes import Wanted
    from thickets.planes import landscape as evaluate

    if run is None:
        raise ConfigError("say which run: thickets landscape RUN")
    config = read_run(run, flags)
    wanted = Wanted(ranks(members), grid, span, split, questions)
    quiet_libraries()
    try:
        found = evaluate(config, wanted, make_progress(config.progress), model=model)
    except KeyboardInterrupt:
        stopped(config.directory)
        raise
    for path in found.files:
        print(path)


def ranks(text: str) -> tuple[int, int]:
    """`1,5` as numbers. Raises `ConfigError`."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--members {text}: give the ranks of two members with a comma between, 1,2") from None
    return first, second
