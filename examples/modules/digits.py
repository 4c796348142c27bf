"""An image classifier: a small convolutional net on scikit-learn's digits; members' probabilities are averaged.

python examples/modules/digits.py
"""

from __future__ import annotations

from typing import Any

import torch
from common import candidates, report, train
from sklearn.datasets import load_digits
from torch import nn

import thickets


def likelihood(model: nn.Module, batch: Any) -> torch.Tensor:
    """`[images]`: the log-likelihood of the right digit."""
    images, labels = batch
    return -nn.functional.cross_entropy(model(images), labels, reduction="none")


def main() -> None:
    population = candidates(1000)
    torch.manual_seed(0)
    digits = load_digits()
    order = torch.randperm(len(digits.target))
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)[order] / 16
    labels = torch.tensor(digits.target)[order]
    first, selection, test = [(images[s], labels[s]) for s in (slice(600), slice(600, 1200), slice(1200, None))]
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    train(model, lambda: -likelihood(model, first).mean(), 40)
    found = thickets.search(
        model, likelihood, selection, population=population, sigmas=(0.01, 0.03), top_k=20, screen=True, say=print
    )
    ensemble = found.ensemble("mean")
    each = ensemble.predictions(test[0], lambda m, x: m(x).softmax(-1))
    with torch.no_grad():
        answers = {
            "base": model(test[0]).argmax(-1),
            "best single": each[0].argmax(-1),
            "ensemble": each.mean(0).argmax(-1),
        }
    report("digits", "accuracy", {name: answer == test[1] for name, answer in answers.items()})


if __name__ == "__main__":
    main()
