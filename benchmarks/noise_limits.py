"""What bounds the CPU noise: vector instructions in the compiled loops, and the fixed cost of one call.

The loops are compiled anew (Numba cannot show code that comes from its cache). `fma` must be 0: the two roundings of
`base + step * noise` are part of the specification.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

from common import write
from rich.console import Console
from rich.table import Table

TENSORS = 272  # of the 135M model that benchmarks/noise.py places


def seconds_a_call(scheme: str) -> float:
    """Of placing eight weights: nearly all of it is what any call costs."""
    import torch

    from thickets.noise import place

    base = torch.zeros(8, dtype=torch.bfloat16)
    out = torch.empty_like(base)
    rounds = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(500):
            place(out, base, scheme=scheme, seed=1, name="x", step=1e-3)
        rounds.append((time.perf_counter() - start) / 500)
    return statistics.median(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = Table("loop", "vector instructions", "Philox multiplications (vpmuludq)", "fma", "µs a call", "ms a switch")
    figures = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NUMBA_CACHE_DIR"] = cache
        for name in ("gaussian", "rademacher"):
            call = seconds_a_call(f"{name}/1")
            from thickets.noise import cpu_loops

            code = "\n".join(getattr(cpu_loops, name).inspect_asm().values())
            vector = len(re.findall(r"^\s+v\w+\s.*%[xyz]mm", code, re.MULTILINE))
            multiplied, fused = len(re.findall(r"vpmuludq", code)), len(re.findall(r"vfn?m(add|sub)", code))
            table.add_row(
                name, str(vector), str(multiplied), str(fused), f"{call * 1e6:.0f}", f"{call * TENSORS * 1e3:.1f}"
            )
            figures |= {f"{name}_fma": float(fused), f"{name}_microseconds_a_call": call * 1e6}
    Console(width=110).print(table)
    write(options.json, "noise_limits", figures)


if __name__ == "__main__":
    main()
