"""How fast the 1D experiment's search is beside a straightforward loop, and whether it finds the same.

    python benchmarks/signals.py --json signals.json

The loop copies the module, adds `randn` noise and rolls out, one candidate after the other, in float32 and on all
signals. It is timed on part of the candidates, in turn with the whole search, as each of them costs the same. The
search screens and settles; `top10_same` compares its ten best with those of the same candidates all scored in full.

Beside them stands the floating-point limit of the machine, in large products. `loop_of_float32_limit` and
`search_of_float32_limit` are the seconds that all products of all candidates take at that limit, as a share of the
seconds that loop and search take, on 1,024 signals. The search's may be above 1, as it skips most of that work. Data
are bound by memory and by sines, not by products, so they have no such share, but values per second.

Needs all cores to itself for steady figures; knows nothing of pictures.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import medians, seconds_in_turn, write

if TYPE_CHECKING:
    import torch

SIGMA, TOP = 0.002, 10
# Signals of a set, and how many sets are drawn one after the other: a thousand batches are, to pretrain a base.
DATA, SETS = 4096, 8
PRODUCTS = 4


def loop(model: torch.nn.Module, signals: torch.Tensor, candidates: int) -> Callable[[], None]:
    """The straightforward way, as the release does it."""
    import torch

    from thickets.signals.predictor import score

    def run() -> None:
        with torch.no_grad():
            for _ in range(candidates):
                candidate = copy.deepcopy(model)
                for parameter in candidate.parameters():
                    parameter.add_(SIGMA * torch.randn_like(parameter))
                float(score(candidate, signals).mean())

    return run


def signals_one_by_one(count: int) -> Any:
    """Mixed signals, one at a time with NumPy."""
    import numpy as np

    from thickets.signals.families import CONTEXT, HORIZON, SPACING, START

    generator = np.random.default_rng(0)
    u, pi = generator.uniform, math.pi
    x = START + SPACING * np.arange(CONTEXT + HORIZON, dtype=np.float32)
    made = np.empty((count, len(x)), dtype=np.float32)
    for i in range(count):
        t, b = 4 * x + u(0, 2 * pi), u(-0.5, 0.5)
        family = generator.integers(6)
        if family == 0:
            made[i] = u(-0.5, 0.5) * x + u(-1, 1)
        elif family == 1:
            made[i] = u(0.5, 1.5) * np.tanh(0.1 * x + u(-pi, pi)) + b
        elif family == 2:
            made[i] = u(0.8, 1.2) * (0.5 * np.sin(t) + 0.3 * np.sin(8 * x)) + b
        elif family == 3:
            made[i] = u(0.8, 1.2) * np.sin(t) + b
        elif family == 4:
            made[i] = u(0.2, 0.4) * np.tanh(u(4, 6) * np.sin(t)) + b
        else:
            wave = np.sin(t) - 0.5 * np.sin(2 * t) + 0.33 * np.sin(3 * t) - 0.25 * np.sin(4 * t)
            made[i] = 0.5 * u(0.8, 1.2) * wave + b
    return made


def sets(count: int) -> None:
    """So many sets of mixed signals, each dropped for the next, as in pretraining."""
    import torch

    from thickets.signals.families import draw

    for seed in range(count):
        draw("mixed", DATA, torch.Generator().manual_seed(seed))


def operations(model: torch.nn.Module, signals: int) -> float:
    """Floating-point operations of one candidate's roll-outs: two for each weight, signal and step."""
    from thickets.signals.families import HORIZON

    return 2.0 * HORIZON * signals * sum(p.numel() for p in model.parameters() if p.ndim == 2)


def limit(dtype: torch.dtype, device: str, size: int) -> Callable[[], None]:
    """`PRODUCTS` large products, which come as near to the limit of the device as anything does."""
    import torch

    a = torch.ones(size, size, dtype=dtype, device=device)
    return lambda: [a @ a for _ in range(PRODUCTS)] and None  # type: ignore[func-returns-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write machine and figures here")
    parser.add_argument("--population", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that the medians are taken over")
    parser.add_argument("--sample", type=int, default=40, help="candidates of the loop that are timed in each round")
    parser.add_argument("--threads", type=int, help="torch's threads, all cores by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for both the loop and the search")
    options = parser.parse_args()
    import torch

    from thickets.module import search
    from thickets.signals.experiment import make_base
    from thickets.signals.families import draw
    from thickets.signals.predictor import score

    torch.set_num_threads(options.threads or torch.get_num_threads())
    model = make_base("mixed", 0).to(options.device)
    signals = draw("sinusoid", 1024, torch.Generator().manual_seed(1)).to(options.device)
    on_gpu = torch.device(options.device).type == "cuda"
    size = 8192 if on_gpu else 1024

    def ours(count: int, screen: bool = True) -> Any:
        return search(
            model, score, signals[:count], population=options.population, sigmas=(SIGMA,), top_k=TOP, screen=screen
        )

    work: dict[str, Callable[[], Any]] = {
        "loop 1024": loop(model, signals, options.sample),
        "search 1024": lambda: ours(1024),
        "loop 32": loop(model, signals[:32], options.sample),
        "search 32": lambda: ours(32),
        "data one by one": lambda: signals_one_by_one(DATA),
        "data": lambda: sets(SETS),
        **{f"limit {t}": limit(getattr(torch, t), options.device, size) for t in ("float32", "bfloat16")},
    }
    times = medians(seconds_in_turn(work, options.rounds, torch.cuda.synchronize if on_gpu else lambda: None))
    for name in ("loop 1024", "loop 32"):
        times[name] *= options.population / options.sample
    times["data"] /= SETS
    figures = {
        "search_speedup": times["loop 1024"] / times["search 1024"],
        "small_batch_speedup": times["loop 32"] / times["search 32"],
        "data_speedup": times["data one by one"] / times["data"],
    }
    needed = {count: operations(model, count) * options.population for count in (1024, 32)}
    figures |= beside_limit(times, needed, size) | same(ours)
    for name, value in figures.items():
        print(f"{name:36}{value:8.3g}")
    write(options.json, "signals", figures)


def beside_limit(times: dict[str, float], work: dict[int, float], size: int) -> dict[str, float]:
    """How near to the machine's limit each comes; `work` is the floating-point operations of all candidates in full."""
    from thickets.signals.families import CONTEXT, HORIZON

    types = ("float32", "bfloat16")
    peak = {name: PRODUCTS * 2 * size**3 / times[f"limit {name}"] for name in types}
    print(
        f"limit: {peak['float32'] / 1e9:.0f} GFLOP/s in float32, {peak['bfloat16'] / 1e9:.0f} in bfloat16 "
        f"({PRODUCTS} products of {size} x {size})"
    )
    for count, needed in work.items():
        least = {name: needed / peak[name] for name in types}
        print(
            f"{count:5} signals: all candidates in full take {least['float32']:.1f} s at the limit of float32, "
            f"{least['bfloat16']:.1f} s at that of bfloat16"
        )
        for name, why in (("loop", ""), ("search", "; it may be above 100 %, as most of the work is skipped")):
            seconds = times[f"{name} {count}"]
            print(
                f"      {name:7}{seconds:6.1f} s, {least['float32'] / seconds:.0%} of the float32 limit{why}",
                flush=True,
            )
    values = DATA * (CONTEXT + HORIZON)
    print(
        f"data: {values / times['data'] / 1e6:.0f} million values per second, bound by memory and sines rather than by "
        f"products; one by one {values / times['data one by one'] / 1e6:.0f} million"
    )
    full = work[1024] / peak["float32"]
    return {f"{name}_of_float32_limit": full / times[f"{name} 1024"] for name in ("loop", "search")}


def same(ours: Callable[..., Any]) -> dict[str, float]:
    """Share of the ten best that the screened search finds too, and how far their scores are apart."""
    figures = {}
    for count, name in ((1024, "top10"), (32, "small_batch_top10")):
        quick, full = ours(count), ours(count, screen=False)
        figures[f"{name}_same"] = len({*quick.members} & {*full.members}) / TOP
        both = {*quick.members} & {*full.members}
        scores = [(quick.candidates[i].score, full.candidates[i].score) for i in both]
        if scores:
            figures[f"{name}_score_difference"] = max(abs(a / b - 1) for a, b in scores)
        settled = sum(c.settled for c in quick.candidates)
        print(f"{count:5} signals: {settled} of {len(quick.candidates)} candidates settled in full")
    return figures


if __name__ == "__main__":
    main()
