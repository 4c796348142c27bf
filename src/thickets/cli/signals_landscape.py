"""`thickets signals-landscape`: the landscape of the 1D experiment. Decides nothing; has it drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console


def signals_landscape(
    family: Annotated[str, Parameter(help="What the predictor is pretrained on: mixed, sinusoid, ...")] = "mixed",
    *,
    tasks: Annotated[
        tuple[str, ...],
        Parameter(help="One panel each: sinusoid, harmonic, line, ...", negative="", consume_multiple=True),
    ] = ("sinusoid", "harmonic", "sawtooth"),
    steps: Annotated[
        tuple[int, ...],
        Parameter(help="A frame after so many steps of pretraining each.", negative="", consume_multiple=True),
    ] = (0, 50, 100, 200, 400, 700, 1000),
    candidates: Annotated[int, Parameter(help="How many are tried around each base.")] = 100,
    points: Annotated[int, Parameter(help="Places along each side of the slice.")] = 17,
    seed: Annotated[int, Parameter(help="Seed of the base, the data and the candidates.")] = 0,
    out: Annotated[Path, Parameter(help="Where the picture and the film go.")] = Path("runs/signals"),
) -> None:
    """Draw a slice of weight space around a predictor of 1D signals, and a film of it growing with pretraining."""
    from thickets.module.pictures import animate, draw_landscape
    from thickets.signals.growth import growth

    console = Console(stderr=True)

    def say(sentence: str) -> None:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    frames = growth(family, tasks, steps, seed, say, points, candidates)
    stem = out / f"landscape-{family}"
    for file in (*draw_landscape(frames[-1][1], stem), animate(frames, stem, "steps of pretraining")):
        print(file)
