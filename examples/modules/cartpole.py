"""A control policy: Gymnasium's CartPole from a policy that imitates a bad rule; the members vote on each push.

    python examples/modules/cartpole.py

The score runs a simulator, which vmap cannot, so candidates are taken one at a time, each on several episodes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import torch
from common import candidates, report, train
from torch import nn

import thickets

EPISODES, TESTS = 8, 64


def returns(act: Callable[[torch.Tensor], torch.Tensor], episodes: int, seed: int) -> torch.Tensor:
    """Steps that the pole stays up in each of `episodes` episodes, at most 500."""
    worlds = [gymnasium.make("CartPole-v1") for _ in range(episodes)]
    seen = {i: world.reset(seed=seed + i)[0] for i, world in enumerate(worlds)}
    steps = torch.zeros(episodes)
    while seen:
        pushes = act(torch.stack([torch.from_numpy(state) for state in seen.values()]))
        for i, push in zip(list(seen), pushes.tolist(), strict=True):
            state, _, fallen, out_of_time, _ = worlds[i].step(push)
            steps[i] += 1
            seen[i] = state
            if fallen or out_of_time:
                del seen[i]
    return steps


def push(model: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """To the left (0) or to the right (1) in each state."""
    return model(states).argmax(-1)


def score(model: nn.Module, _: Any) -> float:
    """Mean return on the selection episodes."""
    return float(returns(lambda states: push(model, states), EPISODES, seed=1000).mean())


def main() -> None:
    population = candidates(150)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    states = torch.randn(500, 4) * 0.2
    # Push to where the cart stands, whatever the pole does: it falls at once.
    rule = (states[:, 0] > 0).long()
    train(model, lambda: nn.functional.cross_entropy(model(states), rule), 300)
    found = thickets.search(model, score, population=population, sigmas=(0.3, 0.6), top_k=5, say=print)
    ensemble = found.ensemble("vote")
    best = ensemble.member(1)
    with torch.no_grad():
        tests = {
            "base": returns(lambda states: push(model, states), TESTS, seed=5000),
            "best single": returns(lambda states: push(best, states), TESTS, seed=5000),
            "ensemble": returns(lambda states: ensemble(states, push), TESTS, seed=5000),
        }
    report("cartpole", "steps", tests)


if __name__ == "__main__":
    main()
