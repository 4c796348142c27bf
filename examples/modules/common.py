"""What the examples share: options, training a base, the verdict with its interval, the figure. Knows no data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

from thickets.analysis.statistics import resampled_mean


def candidates(usual: int) -> int:
    """How many to try: `--population` on the command line, or as many as usual."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--population", type=int, default=usual, help="how many candidates are tried (%(default)s)")
    return int(parser.parse_args().population)


def train(model: nn.Module, loss: Callable[[], torch.Tensor], steps: int, rate: float = 1e-2) -> None:
    """Adam, on the whole training set at each step."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    model.eval()


def report(name: str, what: str, values: Mapping[str, torch.Tensor], better: str = "higher") -> None:
    """Print and draw each model's mean over the same test examples; `values` must have `base` and `ensemble`."""
    means = {model: resampled_mean(v) for model, v in values.items()}
    for model, mean in means.items():
        print(f"{model:22}{what} {mean.value:.4g} ({mean.low:.4g} to {mean.high:.4g})")
    sign = 1 if better == "higher" else -1
    gain = resampled_mean(sign * (values["ensemble"].float() - values["base"].float()))
    difference = f"{gain.value:+.3g} ({gain.low:+.3g} to {gain.high:+.3g}, 95 % over {len(values['base'])} tests)"
    print(f"RandOpt: {gain.verdict}, {difference}")
    figure = Figure(figsize=(6.4, 1.4 + 0.45 * len(means)), layout="constrained")
    axes = figure.add_subplot()
    for y, (model, mean) in enumerate(means.items()):
        colour = {"base": "#d55e00", "ensemble": "#009e73"}.get(model, "#0072b2")
        axes.plot([mean.low, mean.high], [y, y], color=colour, linewidth=5, alpha=0.3, solid_capstyle="round")
        axes.plot([mean.value], [y], "o", color=colour)
        axes.annotate(f"{mean.value:.3g}", (mean.value, y), xytext=(0, 7), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(means)), list(means))
    axes.set_ylim(len(means) - 0.5, -0.8)
    axes.set_xlabel(f"{what} on test, 95 % interval ({better} is better)")
    # Intervals may overlap where the difference on the same tests is clear.
    axes.set_title(f"{name}, RandOpt: {gain.verdict}\nensemble better by {difference}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    file = Path("runs") / "modules" / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    print(file)
