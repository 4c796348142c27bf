"""A tabular model: regression on scikit-learn's diabetes data; the members' median answers.

python examples/modules/tabular.py
"""

from __future__ import annotations

from typing import Any

import torch
from common import candidates, report, train
from sklearn.datasets import load_diabetes
from torch import nn

import thickets


def closeness(model: nn.Module, batch: Any) -> torch.Tensor:
    """`[patients]`: minus the squared error, in units of the target's variance."""
    x, y = batch
    return -(model(x) - y).square().squeeze(1)


def main() -> None:
    population = candidates(3000)
    torch.manual_seed(0)
    data = load_diabetes()
    order = torch.randperm(len(data.target))
    x, y = (torch.tensor(a, dtype=torch.float32)[order] for a in (data.data, data.target))
    x, y = x / x.std(0), ((y - y.mean()) / y.std()).unsqueeze(1)
    first, selection, test = [(x[s], y[s]) for s in (slice(140), slice(140, 290), slice(290, None))]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    train(model, lambda: -closeness(model, first).mean(), 60)
    found = thickets.search(
        model, closeness, selection, population=population, sigmas=(0.02, 0.05, 0.1), top_k=30, screen=True, say=print
    )
    each = found.ensemble().predictions(test[0])
    with torch.no_grad():
        answers = {"base": model(test[0]), "best single": each[0], "ensemble": found.ensemble("median")(test[0])}
    errors = {name: (answer - test[1]).square().squeeze(1) for name, answer in answers.items()}
    report("tabular", "squared error", errors, better="lower")


if __name__ == "__main__":
    main()
