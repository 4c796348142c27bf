"""Finds the best candidates without scoring all of them in full. Knows nothing of modules: it asks for scores.

Successive halving (Jamieson & Talwalkar 2016) with a test instead of a fixed share: on part of the examples, and in
bfloat16 where that is faster, a candidate is dropped only if the one ranked K-th beats it by `Z` standard errors of
their paired difference (Maron & Moore 1993, "Hoeffding races"). Who is left is settled in full and in float32, from the
best down, until the next one would have to be wrong by `Z` times as much as those before it were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thickets.module import batch as batches
from thickets.module.scoring import Scorer
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch

Z = 4.0
# Examples of the first look, and how many times more there are in the next.
FIRST, GROWTH = 32, 4


@dataclass
class Scores:
    """Of every candidate: its mean score so far, on how many examples, and whether that is the full float32 score."""

    mean: torch.Tensor
    examples: torch.Tensor
    settled: torch.Tensor


def in_full(scorer: Scorer, candidates: Sequence[Perturbation], heard: Callable[[int], None]) -> Scores:
    """Every candidate on all examples, in the module's own number type."""
    import torch

    means = scorer.table(candidates, heard=heard).mean(1)
    count = torch.full((len(candidates),), scorer.examples or 1)
    return Scores(means, count, torch.ones(len(candidates), dtype=torch.bool))


def screened(scorer: Scorer, candidates: Sequence[Perturbation], top_k: int, heard: Callable[[int], None]) -> Scores:
    """The `top_k` best with their full scores; the others as far as they came."""
    import torch

    total = scorer.examples or 1
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    parted = scorer.per_example and total >= 2 * FIRST
    # Examples often stand in some order; a part must be a sample of the whole.
    data = batches.changed(scorer.data, lambda t: t[order.to(t.device)]) if parted else scorer.data
    dtype = torch.bfloat16
    found = Scores(
        torch.full((len(candidates),), float("nan")),
        torch.zeros(len(candidates), dtype=torch.long),
        torch.zeros(len(candidates), dtype=torch.bool),
    )
    alive, table, seen, rounding = torch.arange(len(candidates)), torch.empty(len(candidates), 0), 0, 0.0
    for size in _looks(total) if parted else [total]:
        some = batches.rows(data, seen, size) if parted else data
        looked_at = [candidates[i] for i in alive.tolist()]
        more = scorer.table(looked_at, some, dtype)
        if parted and not seen:
            rounding = _rounding(scorer, looked_at, more, some, top_k)
        table, seen = torch.cat([table, more], 1), size
        found.mean[alive], found.examples[alive] = table.mean(1), seen
        stay = _still_possible(table, top_k, rounding) if parted else torch.isfinite(found.mean[alive])
        heard(int((~stay).sum()))
        alive, table = alive[stay], table[stay]
        if len(alive) <= 2 * top_k:
            break
    _settle(scorer, candidates, alive, found, top_k, rounding, heard)
    return found


def _looks(total: int) -> list[int]:
    """How many examples have been seen after each look; the last is at most half of them, as the rest is settled."""
    looks, size = [], FIRST
    while size <= total // 2:
        looks.append(size)
        size *= GROWTH
    return looks


def _rounding(scorer: Scorer, candidates: Sequence[Perturbation], table: torch.Tensor, some: Any, top_k: int) -> float:
    """How far the best means of `table`, of scores in bfloat16, are from those in the module's own numbers: the spread.

    Examples that are all alike say nothing about it. More of them can only make it less, so one look is enough. Scores
    that are equal in bfloat16 do not show all of it, so it is at least half a step of that type.
    """
    import torch

    means = table.mean(1).nan_to_num(nan=-torch.inf, posinf=-torch.inf)
    best = means.argsort(descending=True, stable=True)[: max(2 * top_k, 8)]
    wrong = means[best] - scorer.table([candidates[i] for i in best.tolist()], some).mean(1)
    wrong = wrong[torch.isfinite(wrong)]
    least = float(means[best[0]].abs()) * torch.finfo(torch.bfloat16).eps / 2
    return max(least, float(wrong.std())) if len(wrong) > 1 else least


def _still_possible(table: torch.Tensor, top_k: int, rounding: float) -> torch.Tensor:
    """Which rows of scores `[candidates, examples]` are not clearly worse than the one ranked K-th.

    `rounding` is the standard deviation of what the number type does to a mean. What it does to single examples shows
    in their differences as well, so the larger of the two is what counts.
    """
    import torch

    means = table.mean(1).nan_to_num(nan=-torch.inf, posinf=-torch.inf)
    if len(means) <= 2 * top_k:
        return torch.isfinite(means)
    ranked = means.argsort(descending=True, stable=True)
    difference = table - table[ranked[top_k - 1]]
    error = (difference.std(1) / table.shape[1] ** 0.5).clamp(min=rounding)
    stay: torch.Tensor = difference.mean(1) + Z * error >= 0
    # So many at least, that how wrong a screening score is can be told from them.
    stay[ranked[: 2 * top_k]] = True
    return stay.logical_and_(torch.isfinite(means))


def _settle(
    scorer: Scorer,
    candidates: Sequence[Perturbation],
    alive: torch.Tensor,
    found: Scores,
    top_k: int,
    rounding: float,
    heard: Callable[[int], None],
) -> None:
    import torch

    rough = found.mean[alive]
    ranked = alive[rough.argsort(descending=True, stable=True)]
    rough = found.mean[ranked].clone()
    done = 0
    while done < len(ranked):
        if done >= 2 * top_k:
            settled = found.mean[ranked[:done]]
            sound = torch.isfinite(settled)
            wrong = (settled - rough[:done])[sound]
            best = settled[sound].sort(descending=True).values
            # The first were chosen by scores in bfloat16, often equal ones, and then differ less in how wrong they are.
            spread = max(float(wrong.std()), rounding)
            if len(best) >= top_k and rough[done] + wrong.mean() + Z * spread < best[top_k - 1]:
                break
        last = min(len(ranked), done + top_k if done else 2 * top_k)
        rows = ranked[done:last]
        found.mean[rows] = scorer.table([candidates[i] for i in rows.tolist()], heard=heard).mean(1)
        found.examples[rows], found.settled[rows] = scorer.examples or 1, torch.tensor(True)
        done = last
    heard(len(ranked) - done)
